//! The trash: disks of VMs that went or whose disk was replaced, each entry a
//! directory `<uid>-<name>-<time>` with `trash.json` beside the disks.
//!
//! ```text
//! describe -> on the disk -> the disks move -> on the disk -> Ok
//! ```
//!
//! Guarantees: at no moment, and after no power cut, do disks lie in the trash
//! whose description isn't there whole; what answered `Ok` stays so; what comes
//! later is newer, also where the clock was set back. Nothing here looks at a
//! clock but the caller's, and nothing is emptied; [`super::trash_list`] has the
//! ways out.

use std::io;
use std::path::{Path, PathBuf};

use banger_core::intent::VmIntent;
use banger_core::seam::{StepError, VmRef};
use banger_core::trash;
use banger_protocol::{DiskRole, VmUid};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure;
use super::files;
use super::layout::Layout;
use super::trash_list;

/// `trash.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrashEntry {
    /// The VM.
    pub(super) uid: VmUid,
    /// When.
    pub(super) trashed: Timestamp,
    /// The one disk that was replaced; `None` where the VM went as a whole.
    pub(super) disk: Option<DiskRole>,
    /// The VM as it was intended; `None` where no intent was left.
    pub(super) vm: Option<VmIntent>,
}

/// The name of the description within an entry.
pub(super) const DESCRIPTION: &str = "trash.json";

/// Moves one disk into the trash; none where it isn't there (any more).
pub(super) fn disk(
    layout: &Layout,
    vm: &VmRef,
    role: DiskRole,
    now: Timestamp,
) -> Result<(), StepError> {
    let uid = vm.uid();
    let Some(path) = layout.disk(uid, role) else {
        return Err(StepError::lasting(
            "the base disk is the image's: it can't be put into the trash",
            "report this as a bug of banger",
        ));
    };
    let failed = |error| failure::file("move to the trash", &path, error);
    if !path.try_exists().map_err(failed)? {
        return Ok(());
    }
    let trashed = trash::stamp(now, &trash_list::list(layout)?);
    let place = place(layout, vm, now).map_err(failed)?;
    files::private_directory(&place).map_err(failed)?;
    describe(&place, vm, Some(role), trashed).map_err(failed)?;
    files::sync_parent(&place).map_err(failed)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    std::fs::rename(&path, place.join(name)).map_err(failed)?;
    files::sync_directory(&place)
        .and_then(|()| files::sync_parent(&path))
        .map_err(failed)
}

/// Moves all that there is of a VM into the trash, in one step; nothing where
/// it isn't there (any more).
pub(super) fn all(layout: &Layout, vm: &VmRef, now: Timestamp) -> Result<(), StepError> {
    let uid = vm.uid();
    let directory = layout.vm(uid);
    let failed = |error| failure::file("move to the trash", &directory, error);
    if !directory.try_exists().map_err(failed)? {
        // Moved before, by a daemon that may have died before that was durable.
        return settle(layout).map_err(failed);
    }
    for passing in [layout.handles(uid), layout.leaving(uid)] {
        files::remove(&passing).map_err(failed)?;
    }
    let trashed = trash::stamp(now, &trash_list::list(layout)?);
    describe(&directory, vm, None, trashed).map_err(failed)?;
    let place = place(layout, vm, now).map_err(failed)?;
    std::fs::rename(&directory, &place).map_err(failed)?;
    settle(layout).map_err(failed)
}

/// Removes all that there is of a VM.
pub(super) fn purge(layout: &Layout, uid: VmUid) -> Result<(), StepError> {
    let directory = layout.vm(uid);
    files::remove_directory(&directory).map_err(|error| failure::file("remove", &directory, error))
}

/// A name that is free; the trash itself is made.
fn place(layout: &Layout, vm: &VmRef, now: Timestamp) -> io::Result<PathBuf> {
    files::private_directory(&layout.trash())?;
    files::sync_parent(&layout.trash())?;
    let name = match vm {
        VmRef::Intended(vm) => vm.name().as_str(),
        VmRef::Orphan(_) => "orphan",
    };
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let stem = format!("{}-{name}-{time}", vm.uid());
    for n in 0_u32.. {
        let place = layout.trash().join(match n {
            0 => stem.clone(),
            n => format!("{stem}-{n}"),
        });
        if !place.try_exists()? {
            return Ok(place);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn describe(
    place: &Path,
    vm: &VmRef,
    disk: Option<DiskRole>,
    trashed: Timestamp,
) -> io::Result<()> {
    let entry = TrashEntry {
        uid: vm.uid(),
        trashed,
        disk,
        vm: match vm {
            VmRef::Intended(vm) => Some((**vm).clone()),
            VmRef::Orphan(_) => None,
        },
    };
    let json = serde_json::to_vec_pretty(&entry)?;
    files::replace(&place.join(DESCRIPTION), &json)
}

/// Makes moves from the VMs' directories to the trash durable.
fn settle(layout: &Layout) -> io::Result<()> {
    for directory in [layout.trash(), layout.vms()] {
        if directory.try_exists()? {
            files::sync_directory(&directory)?;
        }
    }
    Ok(())
}
