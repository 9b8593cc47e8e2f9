//! What a running guest's root disk has ahead of what it wrote.
//!
//! A write for which there is no room makes the snapshot invalid, and costs the guest
//! its whole root disk. Guests are paused before that, but somebody may take all that
//! is left between two looks, and what a guest wrote is written down later. So the next
//! blocks of its store are allocated ahead: enough for what is unwritten, and some more
//! to go on until it is paused. Which blocks those are is known, for the kernel fills a
//! store from its beginning to its end (`drivers/md/dm-snap-persistent.c`, `next_free`).
//!
//! Guarantees: what a store holds isn't touched (fallocate(2) only fills holes, and
//! nothing is ever given back: a hole punched a block too early would be the guest's
//! loss). No reserve is the reason for which a guest is paused or stays so. What could
//! not be allocated for what is unwritten counts as taken ([`Shared::unbacked`]).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use banger_core::pressure::DiskLimits;
use banger_protocol::VmUid;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;

use super::layout::Layout;
use super::shared::Shared;
use super::writeback::PATIENCE;
use super::{room, unwritten};
use crate::sparse;

/// So much more than what is unwritten is ahead of a guest after a look, in bytes.
const AHEAD: u64 = 32 << 20;
/// So little of it has to be left to allocate more.
const AGAIN: u64 = AHEAD / 2;
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A store, as it was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reserve {
    /// Its file: device and inode. Another one has another reserve.
    file: (u64, u64),
    /// Where what was written ends.
    written: u64,
    /// Where what is allocated ends, as far as is known.
    allocated: u64,
}

impl Reserve {
    fn ahead(&self) -> u64 {
        self.allocated.saturating_sub(self.written)
    }
}

/// What was learned of a VM.
#[derive(Clone, Copy, Debug, Default)]
struct Ward {
    reserve: Reserve,
    /// Its file system can't allocate (fallocate(2), EOPNOTSUPP).
    hopeless: bool,
    /// That something fails was said.
    told: bool,
}

/// Looks after the root disks of running VMs until the host is dropped.
pub(super) async fn keep(host: Weak<Shared>) {
    let mut wards = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(host) = host.upgrade() else {
            return;
        };
        let paused = host.any_paused.load(Ordering::Relaxed);
        let look = Look {
            running: host.handles.running(),
            layout: host.layout.clone(),
            limits: host.disk,
            keep_free: host.keep_free(),
            // They write nothing, and wait for room.
            allocate: !paused,
        };
        let looking = tokio::task::spawn_blocking(move || {
            let seen = look.at_all(&mut wards);
            (wards, seen)
        });
        let Ok((again, seen)) = looking.await else {
            return;
        };
        wards = again;
        host.unbacked.store(seen.unbacked, Ordering::Relaxed);
        // A pause ends with that; its daemon may have died before, or the disk was
        // too slow for it.
        if paused && seen.unwritten > 0 {
            host.writeback.all(PATIENCE).await;
        }
    }
}

struct Look {
    running: Vec<VmUid>,
    layout: Layout,
    limits: DiskLimits,
    keep_free: u64,
    allocate: bool,
}

/// Of all VMs together, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    unwritten: u64,
    /// What of it has no room of its own.
    unbacked: u64,
}

impl Look {
    fn at_all(&self, wards: &mut BTreeMap<VmUid, Ward>) -> Seen {
        wards.retain(|uid, _| self.running.contains(uid));
        let mut seen = Seen::default();
        let mut left = self.left();
        for uid in &self.running {
            let ward = wards.entry(*uid).or_default();
            let (unwritten, ahead) = self.at(*uid, ward, &mut left).unwrap_or_else(|error| {
                if !ward.told {
                    tracing::warn!(vm = %uid, %error, "no room is kept ahead of its root disk");
                }
                ward.told = true;
                // What can't be read takes nothing.
                (0, 0)
            });
            seen.unwritten = seen.unwritten.saturating_add(unwritten);
            let unbacked = unwritten.saturating_sub(ahead);
            seen.unbacked = seen.unbacked.saturating_add(unbacked);
        }
        seen
    }

    /// What may be allocated.
    fn left(&self) -> u64 {
        match room::read(&self.layout) {
            Ok(room) if self.allocate => {
                let headroom = room.headroom(self.limits.ballast).bytes();
                headroom.saturating_sub(self.keep_free)
            }
            _ => 0,
        }
    }

    /// What is unwritten of a VM's, and what its store has ahead for that.
    fn at(&self, uid: VmUid, ward: &mut Ward, left: &mut u64) -> io::Result<(u64, u64)> {
        let unwritten = unwritten::of(uid)?;
        if ward.hopeless {
            return Ok((unwritten, 0));
        }
        match extend(&self.layout.cow(uid), ward.reserve, unwritten, left) {
            Ok(reserve) => {
                ward.reserve = reserve;
                // Some of it may be for the work disk, of which nobody knows where it
                // will be written.
                let alone = !self.layout.work(uid).exists();
                Ok((unwritten, if alone { reserve.ahead() } else { 0 }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((unwritten, 0)),
            Err(error) => {
                ward.hopeless = error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error());
                Err(error)
            }
        }
    }
}

/// Allocates what is to be ahead, if so much is left.
fn extend(store: &Path, last: Reserve, unwritten: u64, left: &mut u64) -> io::Result<Reserve> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(store)?;
    let found = file.metadata()?;
    let (length, id) = (found.len(), (found.dev(), found.ino()));
    let last = match last.file == id {
        true => last,
        false => Reserve {
            file: id,
            ..Reserve::default()
        },
    };
    let written = sparse::end_of_data(&file, last.written, length)?;
    let seen = Reserve { written, ..last };
    let until = |ahead: u64| written.saturating_add(ahead).min(length);
    let from = seen.allocated.max(written);
    let wanted = until(AHEAD.saturating_add(unwritten));
    let more = wanted.saturating_sub(from);
    let enough = seen.allocated >= until(AGAIN.saturating_add(unwritten));
    if enough || more == 0 || more > *left {
        return Ok(seen);
    }
    fallocate(&file, FallocateFlags::KEEP_SIZE, from, more)?;
    *left -= more;
    Ok(Reserve {
        allocated: wanted,
        ..seen
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

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

    /// Where what is written and what is allocated end, in MiB.
    fn ends(reserve: Reserve) -> (u64, u64) {
        (reserve.written / MIB, reserve.allocated / MIB)
    }

    fn extended(store: &tempfile::NamedTempFile, last: Reserve, unwritten: u64) -> Reserve {
        extend(store.path(), last, unwritten * MIB, &mut (1 << 40)).unwrap()
    }

    #[test]
    fn the_next_blocks_are_allocated_and_nothing_else_changes() {
        let store = store(128 * MIB);
        write(&store, 0, 1);
        let first = extended(&store, Reserve::default(), 0);
        assert_eq!((ends(first), held(&store)), ((1, 33), 33));
        // The guest writes, and more is allocated only when half of it is gone.
        write(&store, 1, 10);
        let second = extended(&store, first, 0);
        assert_eq!(ends(second), (11, 33));
        write(&store, 11, 10);
        let third = extended(&store, second, 0);
        assert_eq!((ends(third), held(&store)), ((21, 53), 53));
        assert_eq!(extended(&store, third, 0), third);
        // The next daemon knows nothing, and allocates nothing twice.
        assert_eq!(extended(&store, Reserve::default(), 0), third);
        assert_eq!(held(&store), 53);
        let all = std::fs::read(store.path()).unwrap();
        assert_eq!(all.len() as u64, 128 * MIB);
        let written = usize::try_from(21 * MIB).unwrap();
        assert!(all[..written].iter().all(|byte| *byte == 7));
        assert!(all[written..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_is_unwritten_has_room_beside_it() {
        let store = store(256 * MIB);
        write(&store, 0, 1);
        let first = extended(&store, Reserve::default(), 100);
        assert_eq!((ends(first), held(&store)), ((1, 133), 133));
        // Written meanwhile, or thought better of: what is allocated stays.
        let second = extended(&store, first, 0);
        assert_eq!((ends(second), held(&store)), ((1, 133), 133));
        assert_eq!(ends(extended(&store, second, 110)), (1, 133));
        assert_eq!(ends(extended(&store, second, 117)), (1, 150));
    }

    #[test]
    fn a_store_ends_where_it_ends() {
        let store = store(8 * MIB);
        write(&store, 0, 1);
        let reserve = extended(&store, Reserve::default(), 0);
        assert_eq!(ends(reserve), (1, 8));
        write(&store, 1, 7);
        assert_eq!(ends(extended(&store, reserve, 50)), (8, 8));
        // Nor is there anything to allocate for one who knows nothing of it.
        assert_eq!(ends(extended(&store, Reserve::default(), 50)), (8, 0));
        assert_eq!(store.as_file().metadata().unwrap().len(), 8 * MIB);
    }

    #[test]
    fn another_file_has_a_reserve_of_its_own() {
        let (old, new) = (store(128 * MIB), store(128 * MIB));
        write(&old, 0, 60);
        let reserve = extended(&old, Reserve::default(), 0);
        assert_eq!(ends(reserve), (60, 92));
        write(&new, 0, 1);
        assert_eq!(ends(extended(&new, reserve, 0)), (1, 33));
        assert_eq!(held(&new), 33);
    }

    #[test]
    fn what_guests_are_paused_for_is_left_alone() {
        let store = store(128 * MIB);
        write(&store, 0, 1);
        let mut left = 32 * MIB - 1;
        let reserve = extend(store.path(), Reserve::default(), 0, &mut left).unwrap();
        assert_eq!((ends(reserve), held(&store)), ((1, 0), 1));
        left += 1;
        let reserve = extend(store.path(), reserve, 0, &mut left).unwrap();
        assert_eq!((ends(reserve), left), ((1, 33), 0));
    }

    #[test]
    fn a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.cow");
        let elsewhere = store(8 * MIB);
        std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap();
        assert!(extend(&path, Reserve::default(), 0, &mut (1 << 40)).is_err());
        assert_eq!(held(&elsewhere), 0);
    }
}
