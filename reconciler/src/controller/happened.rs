//! Events that follow from two states differing.

use std::collections::BTreeMap;

use banger_core::admit::Admission;
use banger_core::api::{Kind, Name};
use banger_core::intent::{Deletion, Intents};
use banger_core::problem::Problem;
use banger_core::vanish::Held;

use crate::store::NewEvent;
use crate::wire::response::Severity;

type Rejected = BTreeMap<(Kind, Name), Vec<Problem>>;

/// What an admission did.
pub(super) fn admitted(before: &Intents, admission: &Admission, known: &Rejected) -> Vec<NewEvent> {
    let mut events = Vec::new();
    for uid in &admission.changed {
        let now = &admission.intents;
        if let Some(vm) = now.vms.get(uid) {
            let known = before.vms.get(uid);
            if let Some(old) = known.filter(|old| old.name() != vm.name()) {
                events.push(renamed(old.name(), vm.name()));
            }
            if known.is_none() && vm.restoring {
                events.push(back_from_trash(vm.name()));
                continue;
            }
            if known.is_none() && vm.applied.is_some() {
                events.push(taken_over(vm.name()));
                continue;
            }
            let old = known.map(|old| (old.generation, old.deletion.as_ref()));
            let new = (vm.generation, vm.deletion.as_ref());
            events.extend(change(Kind::VirtualMachine, vm.name(), old, new));
        } else if let Some(image) = now.images.get(uid) {
            let old = before.images.get(uid);
            let old = old.map(|old| (old.generation, old.deletion.as_ref()));
            let new = (image.generation, image.deletion.as_ref());
            events.extend(change(Kind::Image, image.name(), old, new));
        }
    }
    for ((kind, name), problems) in &admission.rejected {
        if known.get(&(*kind, name.clone())) != Some(problems) {
            events.extend(problems.first().map(|problem| NewEvent {
                kind: *kind,
                name: name.to_string(),
                severity: Severity::Warning,
                reason: "Rejected",
                message: words(problem),
            }));
        }
    }
    events
}

/// Deletions that are held now and weren't before.
pub(super) fn held(
    before: &BTreeMap<(Kind, Name), Held>,
    now: &BTreeMap<(Kind, Name), Held>,
) -> Vec<NewEvent> {
    now.iter()
        .filter(|(key, _)| !before.contains_key(key))
        .map(|((kind, name), held)| NewEvent {
            kind: *kind,
            name: name.to_string(),
            severity: Severity::Warning,
            reason: "DeletionHeld",
            message: format!("its document is missing, but it stays: {}", held.message),
        })
        .collect()
}

fn renamed(old: &Name, new: &Name) -> NewEvent {
    NewEvent {
        kind: Kind::VirtualMachine,
        name: new.to_string(),
        severity: Severity::Normal,
        reason: "Renamed",
        message: format!("it was called `{old}`; the guest learns of it at its next boot"),
    }
}

fn taken_over(name: &Name) -> NewEvent {
    NewEvent {
        kind: Kind::VirtualMachine,
        name: name.to_string(),
        severity: Severity::Normal,
        reason: "TakenOver",
        message: "it was declared, and the host has it already: its uid, its disks and, if it \
                  runs, its address stay"
            .to_owned(),
    }
}

fn back_from_trash(name: &Name) -> NewEvent {
    NewEvent {
        kind: Kind::VirtualMachine,
        name: name.to_string(),
        severity: Severity::Normal,
        reason: "Restored",
        message: "its document is back, and its disks come back from the trash".to_owned(),
    }
}

fn change(
    kind: Kind,
    name: &Name,
    old: Option<(u64, Option<&Deletion>)>,
    new: (u64, Option<&Deletion>),
) -> Option<NewEvent> {
    let (reason, message) = match (old, new) {
        (None, _) => ("Admitted", "it was declared".to_owned()),
        (Some((_, None)), (_, Some(deletion))) => (
            "Deleting",
            if deletion.explicit {
                "it was deleted".to_owned()
            } else {
                "its document is gone".to_owned()
            },
        ),
        (Some((_, Some(_))), (_, None)) => ("Restored", "its document is back".to_owned()),
        (Some((old, _)), (new, _)) if old != new => {
            ("SpecChanged", format!("its spec is at generation {new}"))
        }
        _ => return None,
    };
    Some(NewEvent {
        kind,
        name: name.to_string(),
        severity: Severity::Normal,
        reason,
        message,
    })
}

fn words(problem: &Problem) -> String {
    let file = problem.file.display();
    match problem.at {
        Some((line, column)) => format!("{file}:{line}:{column}: {}", problem.message),
        None => format!("{file}: {}", problem.message),
    }
}
