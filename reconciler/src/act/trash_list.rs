//! What lies in the trash, and the two ways out of it: back, or away.
//!
//! Guarantees: an entry is read from its own directory, never guessed: one
//! whose description can't be read says so, and brings nothing back; disks
//! come back by one rename(2), so that they are in one place at any moment; a
//! list that was read while a step changed the trash isn't kept; a trash that was
//! there and isn't now is away, not empty.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use banger_core::seam::{StepError, VmRef};
use banger_core::trash::Trashed;
use banger_protocol::{DiskRole, VmUid};
use jiff::Timestamp;

use super::layout::Layout;
use super::trash::{DESCRIPTION, TrashEntry};
use super::{failure, files};

/// `st_blocks` counts these (stat(2)), whatever the file system's blocks are.
const BLOCK: u64 = 512;
/// A uid at the head of an entry's name.
const UID: usize = 36;

/// All entries, oldest first.
pub(super) fn list(layout: &Layout) -> Result<Vec<Trashed>, StepError> {
    let trash = layout.trash();
    let failed = |error| failure::file("read the trash", &trash, error);
    let found = match std::fs::read_dir(&trash) {
        Ok(found) => found,
        // It is made with its first entry.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut entries = Vec::new();
    for entry in found {
        let entry = entry.map_err(failed)?;
        // What isn't named as ours is nothing of ours.
        let Ok(id) = entry.file_name().into_string() else {
            continue;
        };
        let Some(uid) = id.get(..UID).and_then(|uid| uid.parse().ok()) else {
            continue;
        };
        match read(&entry.path(), id, uid) {
            Ok(entry) => entries.push(entry),
            // It was emptied, or taken back, while the others were read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    entries.sort_by(|a, b| (a.trashed, &a.id).cmp(&(b.trashed, &b.id)));
    Ok(entries)
}

fn read(place: &Path, id: String, uid: VmUid) -> io::Result<Trashed> {
    let mut taken = 0;
    let mut disks = Vec::new();
    for file in std::fs::read_dir(place)? {
        let file = file?;
        taken += file.metadata()?.blocks() * BLOCK;
        match file.file_name().as_encoded_bytes() {
            b"root.cow" => disks.push(DiskRole::Cow),
            b"work.ext4" => disks.push(DiskRole::Work),
            _ => {}
        }
    }
    disks.sort();
    // Without a description that can be read there are still the disks.
    let (told, unread) = match describe(place, uid) {
        Ok(told) => (Some(told), None),
        Err(why) => (None, Some(why)),
    };
    let made = || {
        let modified = place.metadata().and_then(|found| found.modified());
        let modified = modified.ok().and_then(|time| time.try_into().ok());
        modified.unwrap_or(Timestamp::UNIX_EPOCH)
    };
    Ok(Trashed {
        id,
        uid,
        trashed: told.as_ref().map_or_else(made, |told| told.trashed),
        disk: told.as_ref().and_then(|told| told.disk),
        vm: told.and_then(|told| told.vm),
        disks,
        taken,
        unread,
    })
}

/// What `trash.json` says of this VM, or why that can't be told.
fn describe(place: &Path, uid: VmUid) -> Result<TrashEntry, String> {
    let path = place.join(DESCRIPTION);
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let json = std::fs::read(&path).map_err(|error| told(&error))?;
    let entry: TrashEntry = serde_json::from_slice(&json).map_err(|error| told(&error))?;
    match entry.uid == uid && entry.vm.as_ref().is_none_or(|vm| vm.uid == uid) {
        true => Ok(entry),
        false => Err(told(&format!("it is about another VM than {uid}"))),
    }
}

/// Takes a VM's disks back from the newest entry that holds it as a whole.
/// Nothing where they are in their place already, or where it never had any.
pub(super) fn restore(layout: &Layout, vm: &VmRef) -> Result<(), StepError> {
    let uid = vm.uid();
    let directory = layout.vm(uid);
    let failed = |error| failure::file("take the disks back to", &directory, error);
    for disk in [layout.cow(uid), layout.work(uid)] {
        if disk.try_exists().map_err(failed)? {
            return Ok(());
        }
    }
    let entries = list(layout)?;
    let may_be = |entry: &&Trashed| match &entry.unread {
        Some(_) => entry.uid == uid && !entry.disks.is_empty(),
        None => entry.uid == uid && entry.disk.is_none(),
    };
    let Some(entry) = entries.iter().rfind(may_be) else {
        let missing = || format!("{} are not in the trash any more", disks_of(vm));
        return match had_disks(vm) {
            true => Err(StepError::lasting(missing(), by_hand(&directory))),
            false => Ok(()),
        };
    };
    if let Some(why) = &entry.unread {
        // It may be the VM, or one disk of it that was replaced.
        let message = format!(
            "it can't be told whether {} lie in the trash as {}: {why}",
            disks_of(vm),
            entry.id
        );
        return match had_disks(vm) {
            true => Err(StepError::lasting(message, by_hand(&directory))),
            false => Ok(()),
        };
    }
    files::private_directory(&layout.vms()).map_err(failed)?;
    // Logs at most: there are no disks in it.
    files::remove_directory(&directory).map_err(failed)?;
    std::fs::rename(layout.trash().join(&entry.id), &directory).map_err(failed)?;
    files::sync_directory(&layout.vms()).map_err(failed)?;
    files::sync_directory(&layout.trash()).map_err(failed)?;
    files::remove(&directory.join(DESCRIPTION)).map_err(failed)
}

fn had_disks(vm: &VmRef) -> bool {
    match vm {
        VmRef::Intended(vm) => vm.keeps_its_root_disk(),
        VmRef::Orphan(_) => false,
    }
}

fn disks_of(vm: &VmRef) -> String {
    match vm {
        VmRef::Intended(vm) => format!("the disks of vm `{}`", vm.name()),
        VmRef::Orphan(uid) => format!("the disks of VM {uid}"),
    }
}

fn by_hand(directory: &Path) -> String {
    format!(
        "put them into {}, or delete the VM and apply its document again to begin anew",
        directory.display()
    )
}

/// Removes an entry for good.
pub(super) fn empty(layout: &Layout, id: &str) -> Result<(), StepError> {
    let mut parts = Path::new(id).components();
    let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else {
        return Err(StepError::lasting(
            format!("`{id}` is not an entry of the trash"),
            "see `banger trash list`",
        ));
    };
    let place = layout.trash().join(id);
    // The description first: what a crash leaves of the disks is no VM that
    // could be had back.
    files::remove(&place.join(DESCRIPTION))
        .and_then(|()| files::remove_directory(&place))
        .and_then(|()| files::sync_directory(&layout.trash()))
        .or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })
        .map_err(|error| failure::file("remove", &place, error))
}

/// The list as last read, until a step changes the trash.
#[derive(Default)]
pub(super) struct TrashCache {
    /// The trash was there once, or something is known to have lain in it.
    known: AtomicBool,
    /// A leaf lock: never held across an await.
    list: Mutex<(u64, Option<Arc<Vec<Trashed>>>)>,
}

impl TrashCache {
    /// A step is about to change the trash, or just has: what is being read is old.
    pub(super) fn changed(&self) {
        let mut list = self.lock();
        *list = (list.0 + 1, None);
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Option<Arc<Vec<Trashed>>>)> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error where there was a trash, and none is there now: its file system
    /// may not be mounted. `known`: the caller knows of something in it. Blocks.
    pub(super) fn refuse_missing(&self, layout: &Layout, known: bool) -> Result<(), StepError> {
        let trash = layout.trash();
        let there = trash
            .try_exists()
            .map_err(|error| failure::file("read the trash", &trash, error))?;
        let known = self.known.fetch_or(known || there, Ordering::Relaxed) || known;
        if there || !known {
            return Ok(());
        }
        let trash = trash.display();
        Err(StepError {
            remedy: Some(format!(
                "mount what it lies on; if it was removed on purpose, `mkdir -m 700 {trash}`"
            )),
            ..StepError::transient(format!("the trash {trash} isn't there any more"))
        })
    }

    /// The list; reads it where it isn't known. Blocks.
    pub(super) fn list(
        &self,
        layout: &Layout,
        known: bool,
    ) -> Result<Arc<Vec<Trashed>>, StepError> {
        self.refuse_missing(layout, known)?;
        let (mark, known) = self.lock().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let read = Arc::new(list(layout)?);
        let mut now = self.lock();
        // What a person mends by hand must not wait for a step.
        let whole = read.iter().all(|entry| entry.unread.is_none());
        if now.0 == mark && whole {
            now.1 = Some(Arc::clone(&read));
        }
        Ok(read)
    }
}
