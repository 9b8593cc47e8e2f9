//! Disk pressure and disks that are gone, told to people.

use banger_protocol::{DiskRole, VmUid};

use super::View;
use crate::api::Quantity;
use crate::effect::{Effect, FieldChange};
use crate::intent::VmIntent;
use crate::plan::Why;

/// The reason of the condition.
pub(super) const REASON: &str = "FileSystemFillsUp";

/// What is left, what is needed, and what to do.
pub(super) fn words(view: &View<'_>, left: Quantity, needed: Quantity) -> String {
    let directory = view.paths.state_dir.display();
    format!(
        "{}Mi are left in {directory}, and it waits until {}Mi are: free space on that file \
         system, or `banger trash empty`",
        left.mib(),
        needed.mib()
    )
}

/// The same for an object that waits for room, if it does.
pub(super) fn waits(view: &View<'_>, uid: VmUid) -> Option<String> {
    let mut waiting = view.plan.waiting.iter().filter(|it| it.uid == uid);
    waiting.find_map(|waiting| match waiting.why {
        Why::DiskPressure { left, needed } => Some(words(view, left, needed)),
        _ => None,
    })
}

/// Which disks are gone, and the two ways on: have them back, or have new ones.
pub(super) fn lost(view: &View<'_>, vm: &VmIntent, changes: &[FieldChange]) -> String {
    let directory = view.paths.state_dir.join("vms").join(vm.uid.to_string());
    let disks: Vec<String> = changes
        .iter()
        .map(|change| {
            let file = match change.disk {
                Some(DiskRole::Work) => "work.ext4",
                _ => "root.cow",
            };
            format!("its {} {}", change.field, directory.join(file).display())
        })
        .collect();
    let flags: Vec<&str> = changes.iter().map(|it| flag(it.effect)).collect();
    let (are, files) = match disks.as_slice() {
        [_] => ("is", "the file"),
        _ => ("are", "the files"),
    };
    format!(
        "{} {are} missing: put {files} back, or have a new disk made, and lose what was on the \
         old one, with `banger apply {}`",
        disks.join(" and "),
        flags.join(" ")
    )
}

fn flag(effect: Effect) -> &'static str {
    match effect {
        Effect::LosesData => "--allow-data-loss",
        _ => "--replace-root",
    }
}
