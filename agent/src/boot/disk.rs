//! Mounting an ext4 disk, grown to its device.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ext4_ioc_resize_fs, openat};
use rustix::mount::MountAttrFlags;

use super::mounts::mount_on;
use crate::fault::{During, Fault};
use crate::log;

/// Offset and length of the superblock.
const SUPERBLOCK: (u64, usize) = (1024, 1024);

/// How long a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// In blocks.
    pub(super) blocks: u64,
    /// Of so many bytes.
    pub(super) block_size: u64,
}

/// Mounts it for writing; a journal is recovered on the way. A device that is
/// longer than the file system is filled by it, online.
pub(super) fn mount_grown(device: &Path, on: impl AsFd) -> Result<(), Fault> {
    let name = device.display();
    let (extent, length) = measure(device).during(format!("reading {name}"))?;
    let extent = extent
        .ok_or_else(|| Fault::new(format!("reading {name}"), "it holds no ext4 file system"))?;
    let mounted = mount_on(on, "ext4", device, &[], MountAttrFlags::empty())
        .during(format!("mounting {name}"))?;
    let blocks = length / extent.block_size;
    if blocks > extent.blocks {
        log::note(format_args!(
            "{name} grows from {} to {blocks} blocks of {}",
            extent.blocks, extent.block_size
        ));
        grow(&mounted, blocks).during(format!(
            "growing the file system on {name} to {length} bytes"
        ))?;
    }
    Ok(())
}

fn grow(mounted: &OwnedFd, blocks: u64) -> io::Result<()> {
    // What fsmount gives is a path only, and no ioctl works on that.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(mounted, ".", flags, Mode::empty())?;
    Ok(ext4_ioc_resize_fs(&root, blocks)?)
}

/// The file system's extent, where there is one, and the device's length.
fn measure(device: &Path) -> io::Result<(Option<Extent>, u64)> {
    let mut file = File::open(device)?;
    let length = file.seek(SeekFrom::End(0))?;
    let (offset, size) = SUPERBLOCK;
    let mut superblock = vec![0; size];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut superblock)?;
    Ok((extent_of(&superblock), length))
}

/// Linux: Documentation/filesystems/ext4/super.rst.
pub(super) fn extent_of(superblock: &[u8]) -> Option<Extent> {
    const INCOMPAT_64BIT: u32 = 0x80;
    let u32_at = |offset: usize| {
        let bytes = superblock.get(offset..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    if superblock.get(0x38..0x3a)? != [0x53, 0xef] {
        return None;
    }
    let block_size = 1024_u64 << u32_at(0x18).filter(|log| *log <= 6)?;
    let high = if u32_at(0x60)? & INCOMPAT_64BIT == 0 {
        0
    } else {
        u32_at(0x150)?
    };
    Some(Extent {
        blocks: u64::from(high) << 32 | u64::from(u32_at(0x4)?),
        block_size,
    })
}
