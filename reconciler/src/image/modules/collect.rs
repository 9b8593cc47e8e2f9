//! Reads the modules that a guest of Firecracker needs, in loading order.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::ModulesError;
use super::index::{Index, name_of};
use crate::image::kernel::{Compression, Kernel, decompress};

/// The largest module (unpacked), and the largest index.
const CAP: u64 = 64 << 20;

/// Firecracker's devices, the way to the host, and the root file system.
pub(in crate::image) const REQUIRED: [&str; 5] = [
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "vmw_vsock_virtio_transport",
    "ext4",
];
/// The names under which the same drivers stand in a kernel that has them built in.
const BUILT_IN: [&str; 5] = [
    "virtio-mmio",
    "virtio_blk",
    "virtio_net",
    "vmw_vsock_virtio_transport",
    "ext4",
];
/// ext4 asks the crypto layer for it by name, which modules.dep doesn't know.
/// Kernels since 6.14 have it as a library instead.
const BEFORE_EXT4: &str = "crc32c_generic";

/// One module, unpacked. Its signature, if any, is kept: it is part of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::image) struct Module {
    /// `virtio_blk.ko`.
    pub(in crate::image) file_name: String,
    /// The ELF object.
    pub(in crate::image) bytes: Vec<u8>,
}

/// The modules in loading order. Without a directory the kernel must have
/// everything built in.
pub(in crate::image) fn collect(
    kernel: &Kernel,
    directory: Option<&Path>,
) -> Result<Vec<Module>, ModulesError> {
    let Some(directory) = directory else {
        return require_built_in(kernel, |missing| ModulesError::UnknownRelease { missing });
    };
    if !directory.is_dir() {
        return require_built_in(kernel, |missing| ModulesError::NoDirectory {
            path: directory.to_owned(),
            missing,
        });
    }
    let dep = read_text(&directory.join("modules.dep"))?;
    let builtin = match read_text(&directory.join("modules.builtin")) {
        Err(ModulesError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            String::new()
        }
        other => other?,
    };
    let index = Index::parse(&dep, &builtin);
    let mut paths: Vec<&str> = Vec::new();
    for name in REQUIRED {
        let order = index
            .load_order(name)
            .ok_or_else(|| ModulesError::Missing {
                path: directory.to_owned(),
                name: name.to_owned(),
            })?;
        let before = match name {
            "ext4" if !order.is_empty() => index.load_order(BEFORE_EXT4).unwrap_or_default(),
            _ => Vec::new(),
        };
        for path in before.into_iter().chain(order) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
        .into_iter()
        .map(|path| read_module(&directory.join(path), kernel.release.as_deref()))
        .collect()
}

fn require_built_in(
    kernel: &Kernel,
    error: impl FnOnce(&'static str) -> ModulesError,
) -> Result<Vec<Module>, ModulesError> {
    match BUILT_IN.into_iter().find(|name| !kernel.has_driver(name)) {
        Some(missing) => Err(error(missing)),
        None => Ok(Vec::new()),
    }
}

fn read_module(path: &Path, release: Option<&str>) -> Result<Module, ModulesError> {
    let bytes = read(path)?;
    let damaged = |source| ModulesError::Damaged {
        path: path.to_owned(),
        source,
    };
    let compression = Compression::of(&bytes).map_err(damaged)?;
    let bytes = match compression {
        Compression::None => bytes,
        _ => decompress(compression, &bytes, CAP).map_err(damaged)?,
    };
    // The kernel refuses a module of another build at boot, where nobody sees it.
    if let (Some(expected), Some(actual)) = (release, vermagic(&bytes))
        && expected != actual
    {
        return Err(ModulesError::OtherKernel {
            path: path.to_owned(),
            expected: expected.to_owned(),
            actual,
        });
    }
    Ok(Module {
        file_name: format!("{}.ko", name_of(&path.to_string_lossy())),
        bytes,
    })
}

/// The release in `vermagic=<release> SMP …`, a string of the section .modinfo.
fn vermagic(module: &[u8]) -> Option<String> {
    let key = b"vermagic=";
    let start = module.windows(key.len()).position(|window| window == key)? + key.len();
    let rest = module.get(start..)?;
    let end = rest.iter().position(|byte| *byte == b' ' || *byte == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

fn read_text(path: &Path) -> Result<String, ModulesError> {
    Ok(String::from_utf8_lossy(&read(path)?).into_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, ModulesError> {
    let failed = |source| ModulesError::Read {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CAP + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > CAP {
        return Err(ModulesError::TooLarge {
            path: path.to_owned(),
            cap: CAP,
        });
    }
    Ok(bytes)
}
