//! The ELF that Firecracker boots, and what is known of it.

use super::{KernelError, bzimage, payload::looks_like};

/// A kernel ready to boot.
#[derive(Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The ELF.
    pub vmlinux: Vec<u8>,
    /// As `uname -r` would say, where it could be found.
    pub release: Option<String>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Kernel")
            .field("bytes", &self.vmlinux.len())
            .field("release", &self.release)
            .finish()
    }
}

impl Kernel {
    /// Takes a bzImage apart, or an ELF as it is.
    ///
    /// # Errors
    /// It is neither, or damaged.
    pub fn from_file(bytes: Vec<u8>) -> Result<Self, KernelError> {
        if bytes.starts_with(b"\x7fELF") {
            check_elf(&bytes)?;
            let release = release_of(&bytes);
            return Ok(Self {
                vmlinux: bytes,
                release,
            });
        }
        let image = bzimage::parse(&bytes)?;
        let vmlinux = image.unpack()?;
        check_elf(&vmlinux)?;
        let release = image.release().or_else(|| release_of(&vmlinux));
        Ok(Self { vmlinux, release })
    }

    /// Whether a driver of this name is part of the kernel itself: its name
    /// stands in the image as a C string. Used where no `modules.builtin` tells.
    pub(in crate::image) fn has_driver(&self, name: &str) -> bool {
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        find(&self.vmlinux, &text).is_some()
    }
}

/// ELF64, little-endian, for x86-64, with program headers and no interpreter
/// (elf(5)): what Firecracker's loader takes.
pub(in crate::image) fn check_elf(bytes: &[u8]) -> Result<(), KernelError> {
    let refuse = |looks_like| Err(KernelError::NotAKernel { looks_like });
    if !bytes.starts_with(b"\x7fELF") {
        return refuse(looks_like(bytes));
    }
    let (Some(&class), Some(&order)) = (bytes.get(4), bytes.get(5)) else {
        return refuse("a cut-off ELF file");
    };
    if class != 2 || order != 1 {
        return refuse("an ELF file that isn't 64-bit little-endian");
    }
    let (Some(kind), Some(machine), Some(headers), Some(size), Some(count)) = (
        u16_at(bytes, 16),
        u16_at(bytes, 18),
        u64_at(bytes, 32),
        u16_at(bytes, 54),
        u16_at(bytes, 56),
    ) else {
        return refuse("a cut-off ELF file");
    };
    if machine != 62 {
        return refuse("an ELF file for another processor");
    }
    if kind == 1 {
        return refuse("an object file or kernel module");
    }
    if count == 0 || size < 56 {
        return refuse("an ELF file without program headers");
    }
    const PT_INTERP: u32 = 3;
    for index in 0..u64::from(count) {
        let header = headers
            .checked_add(index * u64::from(size))
            .and_then(|offset| usize::try_from(offset).ok());
        match header.and_then(|offset| u32_at(bytes, offset)) {
            None => return refuse("a cut-off ELF file"),
            Some(PT_INTERP) => return refuse("an ordinary program"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// `Linux version <release> (…` is in every kernel (init/version.c).
fn release_of(vmlinux: &[u8]) -> Option<String> {
    let banner = b"Linux version ";
    let mut rest = vmlinux;
    loop {
        rest = &rest[find(rest, banner)? + banner.len()..];
        if let Some(release) = first_word(rest) {
            return Some(release);
        }
    }
}

/// The first word, where it is a plausible release.
pub(super) fn first_word(bytes: &[u8]) -> Option<String> {
    let end = bytes
        .iter()
        .take(128)
        .position(|byte| !byte.is_ascii_graphic())?;
    let word = std::str::from_utf8(&bytes[..end]).ok()?;
    let plausible = word.starts_with(|first: char| first.is_ascii_digit())
        && !word.contains(['/', '%'])
        && word.contains('.');
    plausible.then(|| word.to_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut from = 0;
    while let Some(step) = haystack.get(from..)?.iter().position(|byte| byte == first) {
        if haystack[from + step..].starts_with(needle) {
            return Some(from + step);
        }
        from += step + 1;
    }
    None
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}
