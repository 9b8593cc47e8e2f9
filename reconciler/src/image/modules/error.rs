//! Why a kernel's modules can't be used.

use std::io;
use std::path::PathBuf;

use super::super::KernelError;

/// Why a kernel's modules can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// Nobody knows which modules belong to the kernel.
    #[error("the kernel says no version, so its modules can't be found, and it lacks {missing}")]
    UnknownRelease {
        /// A driver that isn't built in.
        missing: &'static str,
    },
    /// Neither there nor unneeded.
    #[error("there is no directory {path}, and the kernel itself lacks {missing}")]
    NoDirectory {
        /// Where they should be.
        path: PathBuf,
        /// A driver that isn't built in.
        missing: &'static str,
    },
    /// Neither a module nor built in.
    #[error("{path} has no module {name}, and it isn't built into the kernel")]
    Missing {
        /// The modules directory.
        path: PathBuf,
        /// Which.
        name: String,
    },
    /// Of another kernel.
    #[error("{path} is for the kernel {actual}, not {expected}")]
    OtherKernel {
        /// A module.
        path: PathBuf,
        /// The kernel's release.
        expected: String,
        /// The module's.
        actual: String,
    },
    /// A module that can't be unpacked.
    #[error("{path} can't be unpacked")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: KernelError,
    },
    /// More than a module can be.
    #[error("{path} is larger than {cap} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The cap.
        cap: u64,
    },
    /// A file can't be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ModulesError {
    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::UnknownRelease { .. } | Self::NoDirectory { .. } => {
                "name the kernel's modules directory as `modules: {path: …}`, \
                 or a kernel that has virtio_mmio, virtio_blk, virtio_net, vsock and ext4 built in"
                    .into()
            }
            Self::Missing { name, .. } => {
                format!("install the kernel's full modules package, or use a kernel with {name}")
            }
            Self::OtherKernel { .. } => {
                "name the modules directory of this very kernel as `modules: {path: …}`".into()
            }
            Self::Damaged { .. } | Self::TooLarge { .. } => {
                "install the kernel's package again".into()
            }
            Self::Read { .. } => "run depmod for that kernel if modules.dep is what is missing, \
                 or let this user read it"
                .into(),
        }
    }
}
