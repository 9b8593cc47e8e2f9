//! Compressed streams of kernels and modules, told by their first bytes.

use std::io::{self, Read};

use super::KernelError;

/// `zstd --ultra -22` over a pipe, as the kernel's build calls it, asks for 128 MiB.
const ZSTD_WINDOW: u64 = 128 << 20;
/// xz's own limit for its largest preset is 65 MiB; the kernel's build asks for 128.
const XZ_MEMORY_KIB: u32 = 160 << 10;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::image) enum Compression {
    /// An ELF as it is.
    None,
    /// RFC 1952.
    Gzip,
    /// The legacy frame of LZ4, which `lz4 -l` writes.
    Lz4,
    /// .xz, with the x86 filter or without.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Tells by the first bytes.
    pub(in crate::image) fn of(stream: &[u8]) -> Result<Self, KernelError> {
        let unsupported = |name| Err(KernelError::Compression { name });
        match stream {
            [0x7f, b'E', b'L', b'F', ..] => Ok(Self::None),
            [0x1f, 0x8b, 0x08, ..] => Ok(Self::Gzip),
            [0x02, 0x21, 0x4c, 0x18, ..] => Ok(Self::Lz4),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstd),
            [0x5d, 0, 0, ..] => unsupported("lzma"),
            [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
            [0x89, b'L', b'Z', b'O', ..] => unsupported("lzo"),
            _ => unsupported("something unknown"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }
}

/// Decompresses one stream; what is more than `cap` bytes is refused.
pub(in crate::image) fn decompress(
    compression: Compression,
    stream: &[u8],
    cap: u64,
) -> Result<Vec<u8>, KernelError> {
    let damaged = |source| KernelError::Damaged {
        name: compression.name(),
        source,
    };
    let bytes = match compression {
        Compression::None => return Ok(stream.to_vec()),
        Compression::Gzip => read_all(flate2::read::GzDecoder::new(stream), cap),
        Compression::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(stream), cap),
        Compression::Xz => read_all(
            lzma_rust2::XzReader::new_mem_limit(stream, false, XZ_MEMORY_KIB),
            cap,
        ),
        Compression::Zstd => {
            ruzstd::decoding::StreamingDecoder::new_with_max_window_size(stream, ZSTD_WINDOW)
                .map_err(io::Error::other)
                .and_then(|decoder| read_all(decoder, cap))
        }
    }
    .map_err(damaged)?;
    if bytes.len() as u64 > cap {
        return Err(KernelError::WrongLength {
            promised: cap,
            actual: bytes.len() as u64,
        });
    }
    Ok(bytes)
}

/// At most one byte more than the cap, so that the caller sees the excess.
/// What a stream promises takes no memory: the buffer grows with what comes out.
fn read_all(stream: impl Read, cap: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(cap.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a person would call a file that isn't a kernel.
pub(super) fn looks_like(bytes: &[u8]) -> &'static str {
    let at = |offset: usize, magic: &[u8]| {
        bytes
            .get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    match bytes {
        [] => "an empty file",
        [0x1f, 0x8b, ..] => "a gzip file",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "an xz file",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "a zstd file",
        [0x02, 0x21, 0x4c, 0x18, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => "an lz4 file",
        [b'B', b'Z', b'h', ..] => "a bzip2 file",
        [b'0', b'7', b'0', b'7', b'0', ..] => "a cpio archive (an initrd?)",
        [0x7f, b'E', b'L', b'F', ..] => "an ELF file",
        [b'#', b'!', ..] => "a script",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "a Debian package or ar archive",
        [0xed, 0xab, 0xee, 0xdb, ..] => "an RPM package",
        [b'P', b'K', 3, 4, ..] => "a zip file",
        [b'Q', b'F', b'I', 0xfb, ..] => "a qcow2 disk",
        _ if at(56, b"ARM\x64") => "an arm64 kernel",
        _ if at(257, b"ustar") => "a tar archive",
        _ if at(0x438, &[0x53, 0xef]) => "an ext4 file system",
        [b'M', b'Z', ..] => "an EFI program",
        _ if at(510, &[0x55, 0xaa]) => "a disk or boot sector",
        _ if bytes
            .iter()
            .take(512)
            .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) =>
        {
            "a text file"
        }
        _ => "nothing known",
    }
}
