//! Is it an ext4 file system, whole, and if not, what is it?
//! (Linux: Documentation/filesystems/ext4/super.rst)

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::image::ImportError;

/// Enough for every signature, btrfs' at 0x10040 being the last.
const HEAD: u64 = 0x10048;

/// Checks the superblock and that the file isn't shorter than it says.
pub(in crate::image) fn check(file: &File, size: u64, path: &Path) -> Result<(), ImportError> {
    let head = read_head(file).map_err(ImportError::io("read", path))?;
    let u32_at = |offset: usize| {
        let bytes = head.get(offset..).and_then(|rest| rest.first_chunk());
        bytes.copied().map_or(0, u32::from_le_bytes)
    };
    if head.get(0x438..0x43a) != Some(&[0x53, 0xef]) {
        let (looks_like, remedy) = looks_like(&head);
        return Err(ImportError::NotExt4 {
            path: path.to_owned(),
            looks_like,
            remedy,
        });
    }
    const INCOMPAT_64BIT: u32 = 0x80;
    let high = if u32_at(0x400 + 0x60) & INCOMPAT_64BIT == 0 {
        0
    } else {
        u32_at(0x400 + 0x150)
    };
    let blocks = u64::from(high) << 32 | u64::from(u32_at(0x400 + 0x04));
    // Block sizes are 1 KiB to 64 KiB.
    let block_size = 1024_u64 << u32_at(0x400 + 0x18).min(6);
    let expected = blocks.saturating_mul(block_size);
    if size < expected {
        return Err(ImportError::CutOff {
            path: path.to_owned(),
            expected,
            actual: size,
        });
    }
    Ok(())
}

fn read_head(file: &File) -> io::Result<Vec<u8>> {
    struct At<'a>(&'a File, u64);
    impl Read for At<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read_at(buffer, self.1)?;
            self.1 += read as u64;
            Ok(read)
        }
    }
    let mut head = Vec::new();
    At(file, 0).take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

fn looks_like(head: &[u8]) -> (&'static str, &'static str) {
    const RAW: &str = "convert it with `qemu-img convert -O raw IN OUT`; \
                       if that is a disk with partitions, take out the root partition";
    const UNPACK: &str = "decompress it first";
    const MKFS: &str = "copy its files into an ext4 file system: `mkfs.ext4 -d DIRECTORY OUT SIZE`";
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    match head {
        [] => ("an empty file", "name the file system's image"),
        [b'Q', b'F', b'I', 0xfb, ..] => ("a qcow2 disk", RAW),
        [b'K', b'D', b'M', b'V', ..] => ("a VMDK disk", RAW),
        [0x1f, 0x8b, ..] => ("a gzip file", UNPACK),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("a zstd file", UNPACK),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("an xz file", UNPACK),
        [b'P', b'K', 3, 4, ..] => ("a zip file", UNPACK),
        [b'X', b'F', b'S', b'B', ..] => ("an XFS file system", MKFS),
        [b'h', b's', b'q', b's', ..] => ("a squashfs", MKFS),
        _ if at(0x10040, b"_BHRfS_M") => ("a btrfs file system", MKFS),
        _ if at(0x400, &[0xe2, 0xe1, 0xf5, 0xe0]) => ("an erofs", MKFS),
        _ if at(257, b"ustar") => ("a tar archive", MKFS),
        _ if at(0x8001, b"CD001") => ("an ISO image", MKFS),
        _ if at(512, b"EFI PART") || at(510, &[0x55, 0xaa]) => (
            "a disk with partitions",
            "take out the root partition: `sfdisk -J` shows where it starts, `dd` copies it",
        ),
        _ if head.iter().all(|byte| *byte == 0) => (
            "zeros",
            "make a file system in it: `mkfs.ext4 -d DIRECTORY FILE`",
        ),
        _ => (
            "nothing known",
            "name a raw image of an ext4 file system, without partitions",
        ),
    }
}
