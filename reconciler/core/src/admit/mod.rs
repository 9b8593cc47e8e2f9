//! From documents to intent: every choice is made here, once, and pinned.
//!
//! Guarantees: a document that isn't accepted changes nothing about the last
//! good intent of what it declares; the generation moves only when the
//! canonical spec differs; an allocation never changes; nothing is allocated
//! twice. Pure: the caller saves the result in one transaction before any
//! side effect.

mod canonical;
mod claims;
mod image;
mod vm;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use banger_protocol::VmUid;
use ipnet::Ipv4Net;
use jiff::Timestamp;

use crate::api::{Kind, Name};
use crate::config::VmDefaults;
use crate::intent::{Deletion, Intents};
use crate::problem::Problem;
use crate::reading::Reading;
use crate::trash::Shelf;
use crate::validate::{Body, Validated};

pub use canonical::{canonical, full};

/// What admission goes by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Guests' addresses.
    pub subnet: Ipv4Net,
    /// How many VMs there may be.
    pub slots: u16,
    /// For what documents leave out.
    pub defaults: VmDefaults,
}

/// What admission decided.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Everything that is intended now.
    pub intents: Intents,
    /// What differs from before and must be saved.
    pub changed: BTreeSet<VmUid>,
    /// Objects whose document isn't accepted; what was intended before stays.
    pub rejected: BTreeMap<(Kind, Name), Vec<Problem>>,
    /// All that is wrong, by file.
    pub problems: Vec<Problem>,
    /// Which file declares which object.
    pub sources: BTreeMap<VmUid, PathBuf>,
    /// Of `rejected`, the documents that only wait until an object of the same
    /// name is gone.
    pub awaiting: BTreeSet<(Kind, Name)>,
}

/// Admits one read where nothing lies in the trash. `gone` are the objects
/// that vanished for good.
pub fn admit(
    reading: &Reading,
    before: &Intents,
    gone: &BTreeSet<(Kind, Name)>,
    rules: &Rules,
    mint: &mut dyn FnMut() -> VmUid,
    now: Timestamp,
) -> Admission {
    let shelf = Shelf::default();
    admit_with_trash(reading, before, gone, &shelf, rules, mint, now)
}

/// As [`admit`], where a document may bring back a VM of `shelf`, or take over
/// one that the host holds and no intent knows.
pub fn admit_with_trash(
    reading: &Reading,
    before: &Intents,
    gone: &BTreeSet<(Kind, Name)>,
    shelf: &Shelf,
    rules: &Rules,
    mint: &mut dyn FnMut() -> VmUid,
    now: Timestamp,
) -> Admission {
    let mut admission = Admission {
        intents: before.clone(),
        ..Admission::default()
    };
    for problem in reading.files.iter().flat_map(|file| &file.problems) {
        admission.reject(problem.clone());
    }
    for (kind, name) in gone {
        admission.mark_deleted(*kind, name, now);
    }
    let mut documents: Vec<&Validated> = Vec::new();
    for (key, group) in by_key(reading) {
        match group.as_slice() {
            // A bad twin in another document makes the good one doubtful too.
            [only] if !admission.rejected.contains_key(&key) => documents.push(only),
            [_] => {}
            several => admission.refuse_duplicates(several),
        }
    }
    // Images first, so that a VM may name one that is declared beside it.
    let declared = reading.declared();
    let (images, vms): (Vec<_>, Vec<_>) = documents
        .into_iter()
        .partition(|document| matches!(document.body, Body::Image(_)));
    for document in images {
        image::admit(document, &mut admission, mint, now);
    }
    let mut claims = claims::Claims::of(before, shelf.orphans());
    for document in vms {
        let basis = vm::Basis {
            declared: &declared,
            shelf,
            rules,
            now,
        };
        vm::admit(document, basis, &mut claims, &mut admission, mint);
    }
    admission.note_changes(before);
    admission
}

fn by_key(reading: &Reading) -> BTreeMap<(Kind, Name), Vec<&Validated>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for document in reading.files.iter().flat_map(|file| &file.validated) {
        groups.entry(document.key()).or_default().push(document);
    }
    groups
}

impl Admission {
    fn reject(&mut self, problem: Problem) {
        if let Some(key) = problem.object.clone() {
            self.rejected.entry(key).or_default().push(problem.clone());
        }
        self.problems.push(problem);
    }

    /// A document that is taken up as soon as its predecessor is gone.
    fn await_predecessor(&mut self, problem: Problem) {
        self.awaiting.extend(problem.object.clone());
        self.reject(problem);
    }

    fn refuse_duplicates(&mut self, several: &[&Validated]) {
        for document in several {
            let others: Vec<String> = several
                .iter()
                .filter(|other| !std::ptr::eq(**other, *document))
                .map(|other| format!("{}:{}", other.file.display(), other.line))
                .collect();
            let (kind, name) = document.key();
            self.reject(Problem {
                message: format!("{} `{name}` is declared more than once", kind.short()),
                remedy: Some(format!(
                    "keep one of them; the other is at {}",
                    others.join(", ")
                )),
                ..document.problem("metadata.name")
            });
        }
    }

    fn mark_deleted(&mut self, kind: Kind, name: &Name, now: Timestamp) {
        let deletion = Deletion {
            timestamp: now,
            explicit: false,
            purge: false,
        };
        let slot = match kind {
            Kind::VirtualMachine => self
                .intents
                .vms
                .values_mut()
                .find(|vm| vm.name() == name)
                .map(|vm| &mut vm.deletion),
            Kind::Image => self
                .intents
                .images
                .values_mut()
                .find(|image| image.name() == name)
                .map(|image| &mut image.deletion),
        };
        if let Some(slot) = slot
            && slot.is_none()
        {
            *slot = Some(deletion);
        }
    }

    fn note_changes(&mut self, before: &Intents) {
        let vms = self
            .intents
            .vms
            .iter()
            .filter(|(uid, vm)| before.vms.get(uid) != Some(vm));
        let images = self
            .intents
            .images
            .iter()
            .filter(|(uid, image)| before.images.get(uid) != Some(image));
        self.changed = vms
            .map(|(uid, _)| *uid)
            .chain(images.map(|(uid, _)| *uid))
            .collect();
    }
}
