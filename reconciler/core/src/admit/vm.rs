//! Admission of a VM.

use std::collections::BTreeSet;

use banger_protocol::{Slot, VmUid};
use jiff::Timestamp;

use super::claims::{Claims, Networks};
use super::{Admission, Rules, canonical};
use crate::api::bounds::{MAX_EGRESS_TOGETHER, MAX_EGRESS6_TOGETHER};
use crate::api::{Kind, Name, VirtualMachineSpec};
use crate::intent::{
    Allocation, Backoff, Intents, PowerOverride, VmIntent, VmSpec, WrittenDocument,
};
use crate::problem::Problem;
use crate::trash::Shelf;
use crate::validate::{Body, Validated};

/// What every document of one read is admitted by.
#[derive(Clone, Copy)]
pub(super) struct Basis<'a> {
    /// Everything that the read declares.
    pub(super) declared: &'a BTreeSet<(Kind, Name)>,
    /// VMs that can be had back.
    pub(super) shelf: &'a Shelf,
    pub(super) rules: &'a Rules,
    pub(super) now: Timestamp,
}

pub(super) fn admit(
    document: &Validated,
    basis: Basis<'_>,
    claims: &mut Claims,
    admission: &mut Admission,
    mint: &mut dyn FnMut() -> VmUid,
) {
    let Basis {
        declared,
        shelf,
        rules,
        now,
    } = basis;
    let Body::VirtualMachine(written) = &document.body else {
        return;
    };
    let name = &document.metadata.name;
    let known = admission.intents.vm(name).cloned();
    let known = known.or_else(|| renamed(name, declared, &admission.intents));
    if let Some(vm) = &known {
        admission.sources.insert(vm.uid, document.file.clone());
        if vm.deletion.as_ref().is_some_and(|it| it.explicit) {
            admission.await_predecessor(Problem {
                message: format!("the previous VM `{name}` is still being deleted"),
                remedy: Some("wait: it is taken up as soon as that is done".into()),
                ..document.problem("metadata.name")
            });
            return;
        }
    }
    let taken_over = || {
        let vm = taken_over(name, shelf, rules, claims)?;
        // Another document may have taken it over since the host was looked at.
        (!admission.intents.vms.contains_key(&vm.uid)).then_some(vm)
    };
    let known = known.or_else(taken_over);
    let existing = match known {
        Some(vm) => Some(vm),
        None => match brought_back(name, shelf, rules, claims) {
            Ok(vm) => vm,
            Err((why, remedy)) => {
                admission.reject(Problem {
                    message: format!("it can't be told whether `{name}` has disks already: {why}"),
                    remedy: Some(remedy),
                    ..document.problem("metadata.name")
                });
                return;
            }
        },
    };
    let pinned = existing.as_ref().map(|vm| (&vm.written, &vm.spec));
    let spec = canonical(written, pinned, &rules.defaults);
    if let Err(problem) = check(
        document,
        existing.as_ref(),
        &spec,
        declared,
        claims,
        admission,
    ) {
        admission.reject(*problem);
        return;
    }
    let uid = match existing {
        Some(mut vm) => {
            // The disks may be on their way to the trash, or there already.
            vm.restoring |= vm.deletion.take().is_some();
            // Until then, the old document is admitted again and again.
            vm.renaming = vm.renaming.filter(|to| to != name);
            change(&mut vm, document, written, spec);
            claims.take_slot(vm.allocation.slot, vm.uid);
            claims.take_ports(vm.uid, vm.name().as_str(), &vm.spec.ports);
            claims.take_egress(vm.uid, vm.spec.egress.as_ref());
            let uid = vm.uid;
            admission.intents.vms.insert(uid, vm);
            uid
        }
        None => {
            let allocation = match allocate(rules, claims) {
                Some(allocation) => allocation,
                None => {
                    admission.reject(no_room(document, rules));
                    return;
                }
            };
            let uid = mint();
            claims.take_slot(allocation.slot, uid);
            claims.take_ports(uid, name.as_str(), &spec.ports);
            claims.take_egress(uid, spec.egress.as_ref());
            admission
                .intents
                .vms
                .insert(uid, create(uid, document, written, spec, allocation, now));
            uid
        }
    };
    admission.sources.insert(uid, document.file.clone());
}

fn check(
    document: &Validated,
    existing: Option<&VmIntent>,
    spec: &VmSpec,
    declared: &BTreeSet<(Kind, Name)>,
    claims: &Claims,
    admission: &Admission,
) -> Result<(), Box<Problem>> {
    let image = &spec.image;
    let known = declared.contains(&(Kind::Image, image.clone()))
        || admission
            .intents
            .image(image)
            .is_some_and(|image| image.deletion.is_none());
    // A VM that is pinned to its image keeps running when the image's document goes.
    let keeps = existing.is_some_and(|vm| vm.spec.image == *image && vm.image.is_some());
    if !known && !keeps {
        return Err(Box::new(Problem {
            message: format!("no file declares an image `{image}`"),
            remedy: Some(format!(
                "declare `kind: Image` with `metadata.name: {image}`, or name one of: {}",
                images(admission, declared)
            )),
            ..document.problem("spec.image")
        }));
    }
    if let Some((port, holder)) = claims.clash(existing.map(|vm| vm.uid), &spec.ports) {
        return Err(Box::new(Problem {
            message: format!(
                "{} port {} of the host is already published by VM `{holder}`",
                port.protocol.as_str(),
                port.host
            ),
            remedy: Some("choose another host port".into()),
            ..document.problem("spec.network.ports")
        }));
    }
    let uid = existing.map(|vm| vm.uid);
    let own = Networks::of(spec.egress.as_ref());
    let others = claims.egress_of_others(uid);
    for (what, own, others, most) in [
        ("networks", own.all, others.all, MAX_EGRESS_TOGETHER),
        ("IPv6 networks", own.ipv6, others.ipv6, MAX_EGRESS6_TOGETHER),
    ] {
        if own > 0 && own + others > most {
            return Err(Box::new(Problem {
                message: format!(
                    "with the {others} {what} of other VMs' egress policies, these {own} are \
                     more than {most}, which is all that the host's filter takes"
                ),
                remedy: Some("write larger networks, here or there".into()),
                ..document.problem("spec.network.egress.allow")
            }));
        }
    }
    Ok(())
}

fn images(admission: &Admission, declared: &BTreeSet<(Kind, Name)>) -> String {
    let known = admission
        .intents
        .images
        .values()
        .map(|image| image.name().as_str());
    let named = declared
        .iter()
        .filter(|(kind, _)| *kind == Kind::Image)
        .map(|(_, name)| name.as_str());
    let all: BTreeSet<&str> = known.chain(named).collect();
    if all.is_empty() {
        return "(there are none yet)".into();
    }
    all.into_iter().collect::<Vec<_>>().join(", ")
}

/// The VM that is to be called so, once no document calls it by its old name.
fn renamed(name: &Name, declared: &BTreeSet<(Kind, Name)>, intents: &Intents) -> Option<VmIntent> {
    let old = |vm: &&VmIntent| {
        vm.renaming.as_ref() == Some(name)
            && vm.deletion.is_none()
            && !declared.contains(&(Kind::VirtualMachine, vm.name().clone()))
    };
    intents.vms.values().find(old).cloned()
}

/// The VM of this name that the host holds and no intent knows. One that runs
/// keeps the address that its guest has, or is not taken over.
fn taken_over(name: &Name, shelf: &Shelf, rules: &Rules, claims: &Claims) -> Option<VmIntent> {
    let (runs, mut vm) = shelf.orphans().vm(name)?;
    let slot = vm.allocation.slot;
    let keeps = claims.holder(slot) == Some(vm.uid)
        && slot.get() <= rules.slots
        && allocation(slot, rules).as_ref() == Some(&vm.allocation);
    if !keeps {
        let other = || allocate(rules, claims);
        vm.allocation = (!runs).then(other).flatten()?;
    }
    Some(vm)
}

/// The VM of this name that lies in the trash and comes back, with an address
/// that is still free; or why that can't be told, and what to do about it.
fn brought_back(
    name: &Name,
    shelf: &Shelf,
    rules: &Rules,
    claims: &Claims,
) -> Result<Option<VmIntent>, (String, String)> {
    if let Some(why) = shelf.why_unknown() {
        let remedy = "see that the state directory can be read";
        return Err((why.to_owned(), remedy.to_owned()));
    }
    if let Some((entry, why)) = shelf.unread(name) {
        let remedy = format!(
            "put that file in order, or move the entry's disks to a safe place and then \
             `banger trash empty {entry}`"
        );
        return Err((why.clone(), remedy));
    }
    let Some(mut vm) = shelf.vm(name).cloned() else {
        return Ok(None);
    };
    if !claims.is_free(vm.allocation.slot) {
        // None left: it stays where it is until there is room.
        vm.allocation = allocate(rules, claims).ok_or_else(|| {
            let why = format!("no address in {} is free for it", rules.subnet);
            let remedy = "delete a VM, or install banger with a larger `--subnet`";
            (why, remedy.to_owned())
        })?;
    }
    vm.restoring = true;
    // Asked for in a former life, and never written.
    vm.renaming = None;
    vm.started = None;
    vm.completed = false;
    vm.crash = Backoff::default();
    vm.error = Backoff::default();
    Ok(Some(vm))
}

fn allocate(rules: &Rules, claims: &Claims) -> Option<Allocation> {
    allocation(claims.free_slot(rules.slots)?, rules)
}

fn allocation(slot: Slot, rules: &Rules) -> Option<Allocation> {
    let address = slot.address(rules.subnet)?;
    let mac = slot.mac(rules.subnet)?;
    Some(Allocation { slot, address, mac })
}

fn no_room(document: &Validated, rules: &Rules) -> Problem {
    Problem {
        message: format!(
            "subnet {} has no free address (or all {} slots are taken)",
            rules.subnet, rules.slots
        ),
        remedy: Some("delete a VM, or install banger with a larger `--subnet`".into()),
        ..document.problem("metadata.name")
    }
}

fn create(
    uid: VmUid,
    document: &Validated,
    written: &VirtualMachineSpec,
    spec: VmSpec,
    allocation: Allocation,
    now: Timestamp,
) -> VmIntent {
    VmIntent {
        uid,
        metadata: document.metadata.clone(),
        generation: 1,
        spec,
        written: written.clone(),
        applied: None,
        allocation,
        image: None,
        power: PowerOverride::None,
        restart_token: 0,
        confirmations: Vec::new(),
        deletion: None,
        restoring: false,
        renaming: None,
        document: written_document(document),
        started: None,
        completed: false,
        crash: Backoff::default(),
        error: Backoff::default(),
        created: now,
    }
}

fn written_document(document: &Validated) -> Option<WrittenDocument> {
    (!document.text.is_empty()).then(|| WrittenDocument {
        file: document.file.clone(),
        text: document.text.clone(),
    })
}

fn change(vm: &mut VmIntent, document: &Validated, written: &VirtualMachineSpec, spec: VmSpec) {
    vm.metadata = document.metadata.clone();
    vm.written = written.clone();
    vm.document = written_document(document);
    if vm.spec == spec {
        return;
    }
    if vm.spec.run_policy != spec.run_policy {
        vm.power = PowerOverride::None;
        vm.completed = false;
    }
    vm.generation += 1;
    vm.crash = Backoff::default();
    vm.error = Backoff::default();
    // A confirmation was for what `diff` showed then; what stands now may say the same.
    vm.spec = spec;
    if let Some(applied) = &mut vm.applied {
        applied.follow(&vm.spec);
    }
}
