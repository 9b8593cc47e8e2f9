//! Disks that a VM had and that are gone. Nobody gets an empty one in their
//! place who didn't ask for it: what is missing may be on a file system that
//! isn't mounted, or in somebody's hands.

use banger_protocol::DiskRole;

use crate::effect::{Effect, Effective, FieldChange};
use crate::intent::{Applied, VmIntent};
use crate::observed::{ObservedVm, Presence};

/// The disks that the VM was last started with, that its next start needs, and
/// that aren't there; each as the change that would make it anew. A disk that
/// somebody confirmed may be replaced isn't among them: its replacement may
/// have been cut short, and the spec changed back since.
pub(super) fn disks(vm: &VmIntent, effective: &Effective, here: &ObservedVm) -> Vec<FieldChange> {
    let Some(applied) = &vm.applied else {
        // It was never started: a disk that is there was made for a start that
        // didn't come about, and one that isn't holds nothing of anybody's.
        return Vec::new();
    };
    let mut lost = Vec::new();
    if is_lost(vm, DiskRole::Cow, &here.cow_file) {
        lost.push(anew("root disk", DiskRole::Cow, Effect::ReplaceRoot));
    }
    if has_work_disk(applied, effective) && is_lost(vm, DiskRole::Work, &here.work_file) {
        lost.push(anew("work disk", DiskRole::Work, Effect::LosesData));
    }
    lost
}

fn has_work_disk(applied: &Applied, effective: &Effective) -> bool {
    applied.spec.work_disk.is_some() && effective.spec.work_disk.is_some()
}

fn is_lost<T>(vm: &VmIntent, role: DiskRole, file: &Presence<T>) -> bool {
    file.is_absent() && !vm.confirmations.iter().any(|it| it.disk == role)
}

fn anew(field: &str, disk: DiskRole, effect: Effect) -> FieldChange {
    FieldChange {
        field: field.into(),
        from: "missing".into(),
        to: "a new one".into(),
        effect,
        disk: Some(disk),
    }
}
