//! What can go wrong with an import, for a person: object, cause, remedy.

use std::io;
use std::path::{Path, PathBuf};

use banger_core::seam::StepError;

use super::{KernelError, ModulesError};

/// Why an image can't be imported, or an imported one not be used.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file of the owner's isn't there.
    #[error("the {what} {path} does not exist")]
    NotThere {
        /// What it is for: `disk`, `kernel`.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// A file of the owner's may not be read.
    #[error("the {what} {path} may not be read by this user")]
    NotReadable {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// A directory, a device, a socket, a FIFO.
    #[error("the {what} {path} is {is}, not a file")]
    NotAFile {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// `a directory`.
        is: &'static str,
    },
    /// Something much larger than it may be.
    #[error("the {what} {path} has {size} bytes, more than the {cap} that are allowed")]
    TooLarge {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The cap in bytes.
        cap: u64,
    },
    /// The content isn't what the spec says.
    #[error("the {what} {path} has sha256 {actual}, the spec says {expected}")]
    WrongSha256 {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the spec says.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// Not 64 hexadecimal digits.
    #[error("the sha256 given for the {what} {path} is not 64 hexadecimal digits")]
    BadSha256 {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// The disk holds no ext4 file system.
    #[error("the disk {path} is no ext4 file system: it looks like {looks_like}")]
    NotExt4 {
        /// Which.
        path: PathBuf,
        /// `a qcow2 disk`.
        looks_like: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The file system says it is longer than the file.
    #[error(
        "the disk {path} is cut off: its file system has {expected} bytes, the file has {actual}"
    )]
    CutOff {
        /// Which.
        path: PathBuf,
        /// By the superblock, bytes.
        expected: u64,
        /// Of the file, bytes.
        actual: u64,
    },
    /// It changed under the copy.
    #[error("the {what} {path} changed while it was copied")]
    Changed {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// The copy would take room that others need.
    #[error(
        "the copy {path} needs {needed} MiB, {keep_free} MiB are to stay free, and {free} MiB are"
    )]
    NoRoom {
        /// The copy.
        path: PathBuf,
        /// What it takes, MiB.
        needed: u64,
        /// What is left alone, MiB.
        keep_free: u64,
        /// What is free, MiB.
        free: u64,
    },
    /// The kernel can't be made into what Firecracker boots.
    #[error("the kernel {path} can't be used")]
    Kernel {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: KernelError,
    },
    /// The guest agent wouldn't start.
    #[error("the guest agent {path} is not a static x86-64 program")]
    NotAnAgent {
        /// Which.
        path: PathBuf,
    },
    /// The kernel's modules aren't what they need to be.
    #[error("the modules for the kernel {kernel} can't be used")]
    Modules {
        /// The kernel.
        kernel: PathBuf,
        /// Why.
        #[source]
        source: ModulesError,
    },
    /// A system call failed.
    #[error("cannot {doing} {path}")]
    Io {
        /// `write`.
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory of the state that doesn't hold what an import put there.
    #[error("the imported image {path} is damaged: {why}")]
    Damaged {
        /// Its directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl ImportError {
    /// For `map_err` after a system call on the state directory or a source.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotThere { .. } => {
                "put the file there, or correct the path in the image's spec".into()
            }
            Self::NotReadable { path, .. } => format!(
                "let this user read it, for example with `sudo chmod a+r {}`",
                path.display()
            ),
            Self::NotAFile { .. } => "name a regular file".into(),
            Self::TooLarge { .. } => "name another file; this can't be one".into(),
            Self::WrongSha256 { .. } => {
                "fetch the file again, or correct sha256 in the image's spec".into()
            }
            Self::BadSha256 { .. } => "write the output of sha256sum".into(),
            Self::NotExt4 { remedy, .. } => (*remedy).into(),
            Self::CutOff { .. } => "copy or download it again, to its end".into(),
            Self::Changed { .. } => "wait until whatever writes it is done".into(),
            Self::NoRoom { .. } => "free space on that file system, or `banger trash empty`".into(),
            Self::Kernel { source, .. } => source.remedy(),
            Self::Modules { source, .. } => source.remedy(),
            Self::NotAnAgent { .. } => "install banger again: `make build` makes it".into(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space on that file system".into()
                }
                io::ErrorKind::PermissionDenied => "let this user write there".into(),
                _ => "see the cause; it will be tried again".into(),
            },
            Self::Damaged { .. } => "delete the image and apply it again".into(),
        }
    }

    /// Whether another try can help without anybody's doing.
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Changed { .. } | Self::NoRoom { .. } | Self::Io { .. }
        )
    }
}

impl From<ImportError> for StepError {
    fn from(error: ImportError) -> Self {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            message.push_str(": ");
            message.push_str(&inner.to_string());
            cause = inner.source();
        }
        Self {
            message,
            remedy: Some(error.remedy()),
            retry: error.may_pass(),
            source: Some(Box::new(error)),
        }
    }
}
