//! Why a file isn't a kernel that can be booted.

use std::io;

/// Why a file isn't a kernel that Firecracker boots.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Something else altogether.
    #[error("it is no x86-64 Linux kernel, it looks like {looks_like}")]
    NotAKernel {
        /// `a gzip file`.
        looks_like: &'static str,
    },
    /// Boot protocol before 2.08 (Linux 2.6.26), which doesn't say where the payload is.
    #[error("its boot protocol {major}.{minor:02} is older than 2.08 (Linux 2.6.26)")]
    TooOld {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// The header points beyond the file.
    #[error("it is cut off: the header promises {promised} bytes, the file has {actual}")]
    CutOff {
        /// By the header.
        promised: u64,
        /// In the file.
        actual: u64,
    },
    /// A compression without a decoder here.
    #[error("it is compressed with {name}, which is not supported")]
    Compression {
        /// `lzo`.
        name: &'static str,
    },
    /// The payload can't be decompressed.
    #[error("its {name} payload is damaged")]
    Damaged {
        /// `zstd`.
        name: &'static str,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// The payload is longer or shorter than the kernel's build wrote down.
    #[error("its payload unpacks to {actual} bytes, the header promises {promised}")]
    WrongLength {
        /// By the last four bytes of the payload.
        promised: u64,
        /// What came out, or the cap.
        actual: u64,
    },
    /// More than a kernel can be.
    #[error("it would unpack to {promised} bytes, more than the {cap} that are allowed")]
    TooLarge {
        /// By the last four bytes of the payload.
        promised: u64,
        /// The cap.
        cap: u64,
    },
}

impl KernelError {
    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotAKernel { .. } => {
                "name a bzImage such as /boot/vmlinuz-*, or an ELF vmlinux".into()
            }
            Self::TooOld { .. } => "use a newer kernel".into(),
            Self::CutOff { .. } | Self::Damaged { .. } | Self::WrongLength { .. } => {
                "copy or install the kernel again".into()
            }
            Self::Compression { .. } | Self::TooLarge { .. } => {
                "unpack it with the kernel's scripts/extract-vmlinux and name the result".into()
            }
        }
    }
}
