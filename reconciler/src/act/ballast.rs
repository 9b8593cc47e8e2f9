//! The ballast: a file that takes room for as long as there is enough of it
//! ([`banger_core::pressure`]). All of it blocks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use banger_core::api::Quantity;
use banger_core::seam::StepError;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;

use super::layout::Layout;
use super::{failure, files, room};

/// What is written at once where a file system can't allocate.
const PIECE: usize = 1 << 20;

/// What the ballast takes: what is allocated of its length.
pub(super) fn held(layout: &Layout) -> io::Result<Quantity> {
    match std::fs::symlink_metadata(layout.ballast()) {
        // Blocks of 512 bytes, whatever the file system's are (stat(2)); the
        // map of a fragmented file may take some more.
        Ok(found) => Ok(Quantity::from_bytes(
            found.len().min(found.blocks().saturating_mul(512)),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Quantity::default()),
        Err(error) => Err(error),
    }
}

/// Makes it exactly this long, and allocates all of it. What can't be
/// allocated in full isn't kept in part.
pub(super) fn ensure(layout: &Layout, size: Quantity) -> Result<(), StepError> {
    let path = layout.ballast();
    let failed = |error| failure::file("allocate the ballast", &path, error);
    fits(layout, size).map_err(failed)?;
    let allocated = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .and_then(|file| allocate(&file, size.bytes()));
    allocated.map_err(|error| {
        // The first failure is the one to tell.
        let _ = files::remove(&path);
        failed(error)
    })
}

/// fallocate(2) may take all that is left before it fails, for a moment in
/// which guests' writes fail: what can't fit isn't tried.
fn fits(layout: &Layout, size: Quantity) -> io::Result<()> {
    let room = room::read(layout)?;
    let lacks = size.bytes().saturating_sub(room.ballast.bytes());
    if lacks > room.free.bytes() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// fallocate(2) leaves no hole; where it isn't supported, as over NFS before
/// 4.2, only writing does.
fn allocate(file: &File, length: u64) -> io::Result<()> {
    if file.metadata()?.len() > length {
        file.set_len(length)?;
    }
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Err(Errno::OPNOTSUPP) => write(file, length)?,
        done => done?,
    }
    file.sync_all()
}

fn write(file: &File, length: u64) -> io::Result<()> {
    let piece = vec![0xba; PIECE];
    let mut at = 0;
    while at < length {
        let left = usize::try_from(length - at).map_or(PIECE, |left| left.min(PIECE));
        file.write_all_at(&piece[..left], at)?;
        at += left as u64;
    }
    Ok(())
}

/// Removes it.
pub(super) fn release(layout: &Layout) -> Result<(), StepError> {
    let path = layout.ballast();
    files::remove(&path).map_err(|error| failure::file("release the ballast", &path, error))
}
