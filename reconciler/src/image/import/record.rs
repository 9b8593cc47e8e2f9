//! `image.json`: what an imported image's directory holds.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::image::ImportError;
use crate::image::source::sha256;

/// The form of `image.json`; another one is refused.
const VERSION: u32 = 1;
/// The file's name.
pub(super) const RECORD: &str = "image.json";
/// The root file system's name.
pub(super) const ROOTFS: &str = "rootfs.ext4";
/// The kernel's name.
pub(super) const VMLINUX: &str = "vmlinux";
/// The initrd's name.
pub(super) const INITRD: &str = "initrd";

/// An image that VMs can boot. Its files never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedImage {
    /// 64 hexadecimal digits: SHA-256 over the SHA-256 of the three files, as
    /// [`ImportedImage::digest_of`] says. The same sources, kernel modules and
    /// agent make the same digest.
    pub digest: String,
    /// The root file system, ext4, without partitions. To be opened for reading only.
    pub rootfs: PathBuf,
    /// Its size in bytes.
    pub rootfs_size: u64,
    /// The kernel, an ELF.
    pub vmlinux: PathBuf,
    /// The initrd.
    pub initrd: PathBuf,
}

impl ImportedImage {
    /// The digest of three files' SHA-256, each in lower-case hexadecimal:
    /// SHA-256 of the line `banger-image-1` and a line for each of them.
    pub fn digest_of(rootfs: &str, vmlinux: &str, initrd: &str) -> String {
        sha256(format!("banger-image-1\n{rootfs}\n{vmlinux}\n{initrd}\n").as_bytes())
    }
}

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileRecord {
    pub(super) sha256: String,
    pub(super) size: u64,
}

/// The content of `image.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    digest: String,
    rootfs: FileRecord,
    vmlinux: FileRecord,
    initrd: FileRecord,
    /// As `uname -r` will say, where known.
    kernel_release: Option<String>,
}

impl Record {
    pub(super) fn new(
        rootfs: FileRecord,
        vmlinux: FileRecord,
        initrd: FileRecord,
        kernel_release: Option<String>,
    ) -> Self {
        Self {
            version: VERSION,
            digest: ImportedImage::digest_of(&rootfs.sha256, &vmlinux.sha256, &initrd.sha256),
            rootfs,
            vmlinux,
            initrd,
            kernel_release,
        }
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}

/// Finds an imported image. Checks that every file is there with the size that
/// was recorded; reading them through again to hash them is no matter of a start.
///
/// # Errors
/// It isn't there, or isn't what an import put there.
pub fn load(directory: &Path) -> Result<ImportedImage, ImportError> {
    let damaged = |why: String| ImportError::Damaged {
        path: directory.to_owned(),
        why,
    };
    let path = directory.join(RECORD);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged(format!("there is no {RECORD}")));
        }
        other => other.map_err(ImportError::io("read", &path))?,
    };
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(format!("its {RECORD} can't be understood: {error}")))?;
    if record.version != VERSION {
        return Err(damaged(format!(
            "its {RECORD} has version {}, this program knows {VERSION}",
            record.version
        )));
    }
    let files = [
        (ROOTFS, &record.rootfs),
        (VMLINUX, &record.vmlinux),
        (INITRD, &record.initrd),
    ];
    for (name, file) in files {
        let path = directory.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(damaged(format!("{name} is not a regular file")));
            }
            Ok(metadata) if metadata.len() != file.size => {
                return Err(damaged(format!(
                    "{name} has {} bytes, {} were imported",
                    metadata.len(),
                    file.size
                )));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(format!("there is no {name}")));
            }
            Err(error) => return Err(ImportError::io("read", &path)(error)),
        }
    }
    Ok(ImportedImage {
        digest: record.digest,
        rootfs: directory.join(ROOTFS),
        rootfs_size: record.rootfs.size,
        vmlinux: directory.join(VMLINUX),
        initrd: directory.join(INITRD),
    })
}

/// Removes `<images>/<digest>`; one that isn't there is no error. It is renamed
/// first, so that half an image never has an image's name. Whoever lies over it
/// isn't asked: that is for the caller to know.
///
/// # Errors
/// A system call's.
pub fn remove(images: &Path, digest: &str) -> Result<(), ImportError> {
    let directory = images.join(digest);
    let leaving = images.join(format!(".remove-{digest}"));
    match fs::rename(&directory, &leaving) {
        // Or after a power cut what is left of it might have its name again.
        Ok(()) => File::open(images)
            .and_then(|images| images.sync_all())
            .map_err(ImportError::io("remove", &directory))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ImportError::io("remove", &directory)(error)),
    }
    match fs::remove_dir_all(&leaving) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ImportError::io("remove", &leaving)(error))
        }
        _ => Ok(()),
    }
}
