//! The boot sector of a bzImage (Linux: Documentation/arch/x86/boot.rst).
//!
//! The header says where the compressed kernel is; nothing is searched for.

use super::KernelError;
use super::elf::{first_word, u16_at, u32_at};
use super::payload::{Compression, decompress, looks_like};

/// The most that a kernel may unpack to.
const CAP: u64 = 512 << 20;

const SETUP_SECTS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const KERNEL_VERSION: usize = 0x20e;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// A bzImage's parts.
pub(super) struct BzImage<'a> {
    payload: &'a [u8],
    version: Option<&'a [u8]>,
}

/// Reads the header.
pub(super) fn parse(bytes: &[u8]) -> Result<BzImage<'_>, KernelError> {
    let not_a_kernel = || KernelError::NotAKernel {
        looks_like: looks_like(bytes),
    };
    if u16_at(bytes, BOOT_FLAG) != Some(0xaa55)
        || bytes.get(MAGIC..MAGIC + 4) != Some(b"HdrS".as_slice())
    {
        return Err(not_a_kernel());
    }
    let [minor, major] = u16_at(bytes, VERSION)
        .ok_or_else(not_a_kernel)?
        .to_le_bytes();
    if (major, minor) < (2, 8) {
        return Err(KernelError::TooOld { major, minor });
    }
    let field = |offset| u32_at(bytes, offset).ok_or_else(not_a_kernel);
    // Zero means four, for reasons of 1994.
    let setup = match bytes.get(SETUP_SECTS).copied().unwrap_or(0) {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let start = (setup + 1) * 512 + u64::from(field(PAYLOAD_OFFSET)?);
    let end = start + u64::from(field(PAYLOAD_LENGTH)?);
    let payload = usize::try_from(start)
        .ok()
        .zip(usize::try_from(end).ok())
        .and_then(|(start, end)| bytes.get(start..end))
        .ok_or(KernelError::CutOff {
            promised: end,
            actual: bytes.len() as u64,
        })?;
    let version = u16_at(bytes, KERNEL_VERSION)
        .filter(|offset| *offset != 0)
        .and_then(|offset| bytes.get(usize::from(offset) + 0x200..));
    Ok(BzImage { payload, version })
}

impl BzImage<'_> {
    /// The first word of the version string, as `uname -r` says it.
    pub(super) fn release(&self) -> Option<String> {
        first_word(self.version?)
    }

    /// The ELF inside. Its length stands in the last four bytes of the payload:
    /// gzip ends with them by itself, for the others the build appends them.
    pub(super) fn unpack(&self) -> Result<Vec<u8>, KernelError> {
        let compression = Compression::of(self.payload)?;
        if compression == Compression::None {
            return Ok(self.payload.to_vec());
        }
        let Some((stream, last)) = self.payload.split_last_chunk::<4>() else {
            return Err(KernelError::NotAKernel {
                looks_like: "a bzImage without a payload",
            });
        };
        let promised = u64::from(u32::from_le_bytes(*last));
        if promised > CAP {
            return Err(KernelError::TooLarge { promised, cap: CAP });
        }
        let stream = match compression {
            Compression::Gzip => self.payload,
            _ => stream,
        };
        let unpacked = decompress(compression, stream, promised)?;
        if unpacked.len() as u64 != promised {
            return Err(KernelError::WrongLength {
                promised,
                actual: unpacked.len() as u64,
            });
        }
        Ok(unpacked)
    }
}
