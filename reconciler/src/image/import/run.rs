//! The import itself.

use std::path::{Path, PathBuf};

use super::record::{FileRecord, INITRD, RECORD, ROOTFS, Record, VMLINUX};
use super::staging::Staging;
use super::{ImportedImage, load};
use crate::image::kernel::check_elf;
use crate::image::source::sha256;
use crate::image::{ImportError, Kernel, SourceFile, disk, initrd, modules};

/// The largest kernel or initrd that is read.
const BOOT_FILE_CAP: u64 = 512 << 20;
/// The largest agent.
const AGENT_CAP: u64 = 64 << 20;

/// What to import, and to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRequest {
    /// A raw ext4 file system.
    pub disk: SourceFile,
    /// A bzImage or an ELF; default: the host's own, `/boot/vmlinuz-$(uname -r)`.
    pub kernel: Option<SourceFile>,
    /// The kernel's modules directory; default: `/lib/modules/<release>` of that kernel.
    pub modules: Option<PathBuf>,
    /// An initrd of one's own, taken as it is; default: the boot initrd.
    pub initrd: Option<SourceFile>,
    /// The static guest agent, for the boot initrd.
    pub agent: PathBuf,
    /// The directory of all images, on the file system of the state.
    pub images: PathBuf,
    /// So many bytes of that file system are left alone.
    pub keep_free: u64,
}

/// Imports an image. Repeating it is harmless: an image that is there already
/// is the answer. `progress` takes bytes of the disk done and in all.
///
/// # Errors
/// One of the sources isn't what it must be, or a system call failed. Nothing
/// is left behind then.
pub fn import(
    request: &ImportRequest,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ImportedImage, ImportError> {
    // What is quickly seen to be wrong is said before gigabytes are copied.
    let (source, size) = request.disk.open("disk")?;
    disk::check(&source, size, &request.disk.path)?;
    let kernel = read_kernel(request)?;
    let initrd = match &request.initrd {
        Some(own) => own.read("initrd", BOOT_FILE_CAP)?,
        None => boot_initrd(request, &kernel)?,
    };

    let staging = Staging::new(&request.images)?;
    let (target, path) = staging.create(ROOTFS, 0o400)?;
    let keep_free = request.keep_free;
    let from = (&source, request.disk.path.as_path());
    let copied = disk::copy(from, (&target, &path), keep_free, progress)?;
    request.disk.check("disk", &copied.sha256)?;
    // The copy is what counts; the source may have changed since the first look.
    disk::check(&target, copied.size, &request.disk.path)?;
    target.sync_all().map_err(ImportError::io("write", &path))?;
    staging.write(VMLINUX, 0o444, &kernel.vmlinux)?;
    staging.write(INITRD, 0o444, &initrd)?;

    let record = Record::new(
        FileRecord {
            sha256: copied.sha256,
            size: copied.size,
        },
        record_of(&kernel.vmlinux),
        record_of(&initrd),
        kernel.release,
    );
    let there = request.images.join(record.digest());
    if let Ok(image) = load(&there) {
        return Ok(image);
    }
    let json = serde_json::to_vec_pretty(&record).expect("a record is plain JSON");
    staging.write(RECORD, 0o444, &json)?;
    load(&staging.publish(&request.images, record.digest())?)
}

fn read_kernel(request: &ImportRequest) -> Result<Kernel, ImportError> {
    let source = request.kernel.clone().unwrap_or_else(host_kernel);
    let bytes = source.read("kernel", BOOT_FILE_CAP)?;
    Kernel::from_file(bytes).map_err(|error| ImportError::Kernel {
        path: source.path,
        source: error,
    })
}

fn boot_initrd(request: &ImportRequest, kernel: &Kernel) -> Result<Vec<u8>, ImportError> {
    let default = kernel
        .release
        .as_ref()
        .map(|release| Path::new("/lib/modules").join(release));
    let directory = request.modules.clone().or(default);
    let modules =
        modules::collect(kernel, directory.as_deref()).map_err(|source| ImportError::Modules {
            kernel: request.kernel.clone().unwrap_or_else(host_kernel).path,
            source,
        })?;
    let agent = SourceFile::at(&request.agent).read("agent", AGENT_CAP)?;
    // As PID 1 of the initrd it has no dynamic linker; the kernel would panic.
    check_elf(&agent).map_err(|_| ImportError::NotAnAgent {
        path: request.agent.clone(),
    })?;
    Ok(initrd::make(&agent, &modules))
}

fn host_kernel() -> SourceFile {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    SourceFile::at(format!("/boot/vmlinuz-{release}"))
}

fn record_of(bytes: &[u8]) -> FileRecord {
    FileRecord {
        sha256: sha256(bytes),
        size: bytes.len() as u64,
    }
}
