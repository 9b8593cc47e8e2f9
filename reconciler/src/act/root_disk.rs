//! The copy-on-write store of a root disk.

use banger_core::seam::StepError;
use banger_protocol::{Sectors, VmUid};

use super::failure;
use super::files;
use super::layout::Layout;

/// A chunk of the snapshot: 8 sectors.
const CHUNK: u64 = 4096;
/// Exceptions that one chunk of metadata describes: 16 bytes each
/// (`struct disk_exception`, two `__le64`).
const EXCEPTIONS: u64 = CHUNK / 16;
/// Lengths are rounded up to this.
const ROUND: u64 = 1 << 20;

/// How long a store must be so that a persistent snapshot of `size` can never
/// overflow, even if the guest writes every chunk of it.
///
/// The layout (`drivers/md/dm-snap-persistent.c`): one chunk of header, then
/// areas, each one chunk of metadata and the 256 chunks that it describes. The
/// kernel wipes the metadata of the next area as soon as an area is full, so
/// that one more area begins than data alone would need.
pub(super) fn cow_length(size: Sectors) -> u64 {
    let data = size.bytes().div_ceil(CHUNK);
    let areas = data / EXCEPTIONS + 1;
    let chunks = 1 + areas + data;
    (chunks * CHUNK).next_multiple_of(ROUND)
}

/// The VM's directory and a sparse store in it. A new one reads as zeros,
/// which the kernel takes for a new snapshot; one that exists is kept, longer
/// where the root disk has grown.
pub(super) fn make(layout: &Layout, uid: VmUid, size: Sectors) -> Result<(), StepError> {
    let directory = layout.vm(uid);
    files::private_directory(&directory)
        .map_err(|error| failure::file("make the VM's directory", &directory, error))?;
    let cow = layout.cow(uid);
    files::at_least(&cow, cow_length(size))
        .and_then(|()| files::sync_directory(&directory))
        .and_then(|()| files::sync_directory(&layout.vms()))
        .and_then(|()| files::sync_directory(layout.state()))
        .map_err(|error| failure::file("make the root disk", &cow, error))
}
