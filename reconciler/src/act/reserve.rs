//! What a running guest's root disk has ahead of what it wrote.
//!
//! A write for which there is no room makes the snapshot invalid, and costs the guest
//! its whole root disk. Guests are paused before that, but somebody may take all that
//! is left between two looks. So that the guest can go on writing until it is paused,
//! the next blocks of its store are allocated ahead: which those are is known, for the
//! kernel fills a store from its beginning to its end
//! (`drivers/md/dm-snap-persistent.c`, `next_free`).
//!
//! Guarantees: what a store holds isn't touched (fallocate(2) only fills holes, and
//! nothing is ever given back: a hole punched a block too early would be the guest's
//! loss). No reserve is the reason for which a guest is paused.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Weak;
use std::time::Duration;

use banger_protocol::VmUid;
use rustix::fs::{FallocateFlags, OFlags, fallocate, fstatvfs};

use super::shared::Shared;
use crate::sparse;

/// So much is ahead of the guest after a look, in bytes.
pub(super) const AHEAD: u64 = 32 << 20;
/// So little has to be left of it to allocate more.
pub(super) const AGAIN: u64 = AHEAD / 2;
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A store, as it was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reserve {
    /// Where what was written ends.
    pub(super) written: u64,
    /// Where what is allocated ends.
    pub(super) allocated: u64,
}

/// Looks after the root disks of running VMs until the host is dropped.
pub(super) async fn keep(host: Weak<Shared>) {
    let mut reserves = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(host) = host.upgrade() else {
            return;
        };
        let running = host.handles.running();
        let layout = host.layout.clone();
        let keep_free = host.keep_free;
        drop(host);
        let looking = tokio::task::spawn_blocking(move || {
            reserves.retain(|uid, _| running.contains(uid));
            for uid in running {
                look(&layout.cow(uid), uid, &mut reserves, keep_free);
            }
            reserves
        });
        match looking.await {
            Ok(seen) => reserves = seen,
            Err(_) => return,
        }
    }
}

/// A store for which it fails, as on a file system that can't allocate, is left alone
/// until the VM is started again.
fn look(store: &Path, uid: VmUid, reserves: &mut BTreeMap<VmUid, Option<Reserve>>, keep_free: u64) {
    let Some(last) = *reserves.entry(uid).or_insert(Some(Reserve::default())) else {
        return;
    };
    let next = extend(store, last, keep_free);
    if let Err(error) = &next
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(vm = %uid, store = %store.display(), %error, "no room is kept ahead of it");
    }
    reserves.insert(uid, next.ok());
}

/// Allocates what is to be ahead, if there is room for that.
pub(super) fn extend(store: &Path, last: Reserve, keep_free: u64) -> io::Result<Reserve> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(store)?;
    let length = file.metadata()?.len();
    let written = sparse::end_of_data(&file, last.written, length)?;
    let next = Reserve { written, ..last };
    let wanted = (written + AHEAD).min(length);
    if last.allocated >= wanted.min(written + AGAIN) || !has_room(&file, keep_free)? {
        return Ok(next);
    }
    fallocate(&file, FallocateFlags::KEEP_SIZE, written, wanted - written)?;
    Ok(Reserve {
        allocated: wanted,
        ..next
    })
}

/// fallocate(2) may take all that is left before it fails.
fn has_room(file: &File, keep_free: u64) -> io::Result<bool> {
    let found = fstatvfs(file)?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    Ok(free >= keep_free.saturating_add(AHEAD))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn store(length: u64) -> tempfile::NamedTempFile {
        let store = tempfile::NamedTempFile::new().unwrap();
        store.as_file().set_len(length).unwrap();
        store
    }

    fn write(store: &tempfile::NamedTempFile, at: u64, mib: u64) {
        let bytes = vec![7; usize::try_from(mib * MIB).unwrap()];
        store.as_file().write_all_at(&bytes, at * MIB).unwrap();
        store.as_file().sync_all().unwrap();
    }

    fn held(store: &tempfile::NamedTempFile) -> u64 {
        store.as_file().metadata().unwrap().blocks() * 512 / MIB
    }

    #[test]
    fn the_next_blocks_are_allocated_and_nothing_else_changes() {
        let store = store(128 * MIB);
        write(&store, 0, 1);
        let first = extend(store.path(), Reserve::default(), 0).unwrap();
        assert_eq!((first.written, first.allocated), (MIB, 33 * MIB));
        assert_eq!(held(&store), 33);
        // The guest writes, and it is looked again only when half of it is gone.
        write(&store, 1, 10);
        let second = extend(store.path(), first, 0).unwrap();
        assert_eq!((second.written, second.allocated), (11 * MIB, 33 * MIB));
        write(&store, 11, 10);
        let third = extend(store.path(), second, 0).unwrap();
        assert_eq!((third.written, third.allocated), (21 * MIB, 53 * MIB));
        assert_eq!(held(&store), 53);
        assert_eq!(extend(store.path(), third, 0).unwrap(), third);
        // The next daemon knows nothing, and allocates nothing twice.
        let anew = extend(store.path(), Reserve::default(), 0).unwrap();
        assert_eq!(anew, third);
        assert_eq!(held(&store), 53);
        let all = std::fs::read(store.path()).unwrap();
        assert_eq!(all.len() as u64, 128 * MIB);
        let written = usize::try_from(21 * MIB).unwrap();
        assert!(all[..written].iter().all(|byte| *byte == 7));
        assert!(all[written..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_store_ends_where_it_ends() {
        let store = store(8 * MIB);
        write(&store, 0, 1);
        let reserve = extend(store.path(), Reserve::default(), 0).unwrap();
        assert_eq!(reserve.allocated, 8 * MIB);
        write(&store, 1, 7);
        let full = extend(store.path(), reserve, 0).unwrap();
        assert_eq!((full.written, full.allocated), (8 * MIB, 8 * MIB));
        assert_eq!(store.as_file().metadata().unwrap().len(), 8 * MIB);
    }

    #[test]
    fn what_guests_are_paused_for_is_left_alone() {
        let store = store(128 * MIB);
        write(&store, 0, 1);
        let reserve = extend(store.path(), Reserve::default(), 1 << 62).unwrap();
        assert_eq!((reserve.written, reserve.allocated), (MIB, 0));
        assert_eq!(held(&store), 1);
    }

    #[test]
    fn a_store_that_cannot_be_had_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (uid, path): (VmUid, _) = (
            "01900000-0000-7000-8000-000000000001".parse().unwrap(),
            directory.path().join("root.cow"),
        );
        let mut reserves = BTreeMap::new();
        look(&path, uid, &mut reserves, 0);
        assert_eq!(reserves[&uid], None);
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(extend(&path, Reserve::default(), 0).is_err());
    }
}
