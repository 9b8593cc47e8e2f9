//! Admission of a VM.

use std::collections::BTreeSet;

use banger_protocol::VmUid;
use jiff::Timestamp;

use super::claims::Claims;
use super::{Admission, Rules, canonical};
use crate::api::{Kind, Name, VirtualMachineSpec};
use crate::intent::{Allocation, Backoff, PowerOverride, VmIntent, VmSpec};
use crate::problem::Problem;
use crate::validate::{Body, Validated};

pub(super) fn admit(
    document: &Validated,
    declared: &BTreeSet<(Kind, Name)>,
    rules: &Rules,
    claims: &mut Claims,
    admission: &mut Admission,
    mint: &mut dyn FnMut() -> VmUid,
    now: Timestamp,
) {
    let Body::VirtualMachine(written) = &document.body else {
        return;
    };
    let name = &document.metadata.name;
    let existing = admission.intents.vm(name).cloned();
    if let Some(vm) = &existing {
        admission.sources.insert(vm.uid, document.file.clone());
    }
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
            vm.deletion = None;
            change(&mut vm, document, written, spec);
            claims.take_ports(vm.uid, vm.name().as_str(), &vm.spec.ports);
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
    let name = &document.metadata.name;
    if existing.is_some_and(|vm| {
        vm.deletion
            .as_ref()
            .is_some_and(|deletion| deletion.explicit)
    }) {
        return Err(Box::new(Problem {
            message: format!("the previous VM `{name}` is still being deleted"),
            remedy: Some("wait: it is taken up as soon as that is done".into()),
            ..document.problem("metadata.name")
        }));
    }
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
                "port {} of the host is already published by VM `{holder}`",
                port.host
            ),
            remedy: Some("choose another host port".into()),
            ..document.problem("spec.network.ports")
        }));
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

fn allocate(rules: &Rules, claims: &Claims) -> Option<Allocation> {
    let slot = claims.free_slot(rules.slots)?;
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
        started: None,
        completed: false,
        crash: Backoff::default(),
        error: Backoff::default(),
        created: now,
    }
}

fn change(vm: &mut VmIntent, document: &Validated, written: &VirtualMachineSpec, spec: VmSpec) {
    vm.metadata = document.metadata.clone();
    vm.written = written.clone();
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
        // Nothing of these is given to the guest or to Firecracker: they
        // are in force as soon as they are admitted.
        applied.spec.run_policy = vm.spec.run_policy;
        applied.spec.update_policy = vm.spec.update_policy;
        applied.spec.nat = vm.spec.nat;
        applied.spec.ports.clone_from(&vm.spec.ports);
        applied.spec.termination_grace_period_seconds = vm.spec.termination_grace_period_seconds;
    }
}
