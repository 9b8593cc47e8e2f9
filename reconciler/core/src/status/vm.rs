//! A VM as `get -o yaml` prints it.

use banger_protocol::Install;
use banger_protocol::install::socket;

use super::View;
use super::conditions::Conditions;
use super::{disk, phase};
use crate::admit::full;
use crate::api::status::{
    ConditionStatus, ConditionType, Object, ObjectMeta, ObjectSpec, ObjectStatus, Phase, VmHandles,
    VmRuntime,
};
use crate::api::virtual_machine::UpdatePolicy;
use crate::api::{API_VERSION, Kind};
use crate::effect::{self, FieldChange};
use crate::firewall;
use crate::intent::VmIntent;
use crate::observed::{Presence, vm_alive};
use crate::plan::{Why, wants_to_run};

pub(super) fn object(view: &View<'_>, vm: &VmIntent) -> Object {
    let (phase, message) = phase::of(view, vm);
    Object {
        api_version: API_VERSION.into(),
        kind: Kind::VirtualMachine,
        metadata: ObjectMeta {
            name: vm.name().clone(),
            uid: vm.uid,
            generation: vm.generation,
            labels: vm.metadata.labels.clone(),
            annotations: vm.metadata.annotations.clone(),
            creation_timestamp: vm.created,
            deletion_timestamp: vm.deletion.as_ref().map(|deletion| deletion.timestamp),
            source: view.admission.sources.get(&vm.uid).cloned(),
        },
        spec: ObjectSpec::VirtualMachine(Box::new(full(&vm.spec))),
        status: ObjectStatus {
            phase,
            observed_generation: vm.generation,
            conditions: conditions(view, vm, phase, &message),
            runtime: Some(runtime(view, vm)),
            handles: Some(handles(view, vm)),
            image_digest: vm
                .image
                .as_ref()
                .map(|digest| format!("sha256:{}", digest.0)),
            progress: None,
        },
    }
}

fn conditions(
    view: &View<'_>,
    vm: &VmIntent,
    phase: Phase,
    message: &str,
) -> Vec<crate::api::Condition> {
    let mut conditions = Conditions::new(view, vm.uid, vm.generation);
    conditions.set_source(Kind::VirtualMachine, vm.name());
    let status = match phase {
        Phase::Ready => ConditionStatus::True,
        Phase::Unknown => ConditionStatus::Unknown,
        _ => ConditionStatus::False,
    };
    let reason = match phase {
        Phase::Ready | Phase::Paused => None,
        _ => reason(view, vm),
    };
    let reason = reason.unwrap_or_else(|| format!("{phase:?}"));
    conditions.set(ConditionType::Ready, status, &reason, message);
    network(&mut conditions, view, vm);
    for waiting in view
        .plan
        .waiting
        .iter()
        .filter(|waiting| waiting.uid == vm.uid)
    {
        match &waiting.why {
            Why::RestartRequired { changes } => conditions.set(
                ConditionType::RestartRequired,
                ConditionStatus::True,
                "SpecChanged",
                match vm.spec.update_policy {
                    UpdatePolicy::OnNextBoot => format!(
                        "{}; taken at the next start, or by `banger vm restart {}`",
                        words(changes),
                        vm.name()
                    ),
                    UpdatePolicy::Auto => format!(
                        "{}; taken by a restart once it is its turn: one VM at a time",
                        words(changes)
                    ),
                },
            ),
            Why::StartNotRecorded => conditions.set(
                ConditionType::RestartRequired,
                ConditionStatus::True,
                "StartNotRecorded",
                format!(
                    "it runs, and nothing tells what it was started with: it is left as it is; \
                     `banger vm restart {}` starts it as its document says",
                    vm.name()
                ),
            ),
            Why::ConfirmationRequired { changes } => conditions.set(
                ConditionType::ConfirmationRequired,
                ConditionStatus::True,
                "ReplacesDisk",
                format!(
                    "{}; held until it is confirmed, see `banger diff`",
                    words(changes)
                ),
            ),
            Why::DiskPressure { left, needed } => conditions.set(
                ConditionType::DiskPressure,
                ConditionStatus::True,
                disk::REASON,
                disk::words(view, *left, *needed),
            ),
            _ => {}
        }
    }
    if let Some(update) = effect::image_update(vm, view.intents) {
        conditions.set(
            ConditionType::UpdateAvailable,
            ConditionStatus::True,
            "ImageImportedAnew",
            format!(
                "image `{}` has changed since this VM was made from it; \
                 `banger apply --replace-root` makes its root disk anew ({})",
                vm.spec.image,
                words(&[update])
            ),
        );
    }
    if let Some(deletion) = &vm.deletion {
        let reason = if deletion.explicit {
            "Deleted"
        } else {
            "DocumentGone"
        };
        conditions.set(
            ConditionType::Terminating,
            ConditionStatus::True,
            reason,
            "",
        );
    }
    conditions.done()
}

/// `NetworkReady`, of a VM that is to run and to reach beyond the host.
fn network(conditions: &mut Conditions<'_>, view: &View<'_>, vm: &VmIntent) {
    if !vm.spec.nat || !wants_to_run(vm) {
        return;
    }
    let (status, reason, message) = match &view.observed.obstacles {
        Presence::Present(obstacles) if obstacles.is_empty() => {
            (ConditionStatus::True, "Forwarded", String::new())
        }
        Presence::Present(obstacles) => (
            ConditionStatus::False,
            "FirewallInTheWay",
            firewall::told(obstacles),
        ),
        Presence::Unknown(why) => (ConditionStatus::Unknown, "ObservationFailed", why.clone()),
        // A helper that doesn't look.
        Presence::Absent => return,
    };
    conditions.set(ConditionType::NetworkReady, status, reason, message);
}

/// The reason of `Ready=False`, where the plan knows a better one than the phase.
fn reason(view: &View<'_>, vm: &VmIntent) -> Option<String> {
    let waiting = view
        .plan
        .waiting
        .iter()
        .filter(|waiting| waiting.uid == vm.uid);
    waiting
        .filter_map(|waiting| {
            Some(match &waiting.why {
                Why::ObservationFailed { .. } => "ObservationFailed",
                Why::ImageNotReady { .. } => "ImageNotReady",
                Why::InsufficientMemory { .. } => "InsufficientMemory",
                Why::OrphanInTheWay { .. } => "OrphanInTheWay",
                Why::RootDiskTooSmall { .. } => "RootDiskTooSmall",
                Why::DiskMissing { .. } => "DiskMissing",
                Why::DiskPressure { .. } => "DiskPressure",
                Why::CrashLoopBackOff { .. } => "CrashLoopBackOff",
                Why::BackOff { .. } if vm_alive(view.observed.vm(vm.uid)) == Some(false) => {
                    "ActionFailed"
                }
                _ => return None,
            })
        })
        .map(str::to_owned)
        .next()
}

fn words(changes: &[FieldChange]) -> String {
    let words: Vec<String> = changes.iter().map(FieldChange::words).collect();
    words.join(", ")
}

fn runtime(view: &View<'_>, vm: &VmIntent) -> VmRuntime {
    let vm_dir = view.paths.state_dir.join("vms").join(vm.uid.to_string());
    let sockets = Install::socket_dir(vm.uid);
    let mac = vm
        .allocation
        .mac
        .map(|byte| format!("{byte:02x}"))
        .join(":");
    VmRuntime {
        guest_ip: vm.allocation.address,
        guest_ip6: view.observed.vm(vm.uid).ipv6,
        mac,
        vsock_cid: vm.allocation.slot.cid(),
        dns_name: format!("{}.vm", vm.name()),
        serial_log: vm_dir.join("serial.log"),
        known_hosts: view.paths.known_hosts.join(vm.uid.to_string()),
        vm_dir,
        api_socket: sockets.join(socket::API),
        vsock_socket: sockets.join(socket::VSOCK),
        last_error: view
            .activity
            .last_error
            .get(&vm.uid)
            .map(|(message, _)| message.clone()),
        restarts: vm.crash.failures,
    }
}

fn handles(view: &View<'_>, vm: &VmIntent) -> VmHandles {
    let here = view.observed.vm(vm.uid);
    let process = here.vmm.present().map(|vmm| vmm.process);
    let path = |device: &Presence<banger_protocol::LoopNumber>| {
        device.present().map(|device| device.path())
    };
    VmHandles {
        pid: process.map(|process| process.pid),
        start_time: process.map(|process| process.start_time),
        boot_id: process.map(|_| view.observed.boot_id.clone()),
        tap: here.tap.present().map(|_| vm.allocation.slot.tap()),
        base_loop: path(&here.base_loop),
        cow_loop: path(&here.cow_loop),
        work_loop: path(&here.work_loop),
        dm_name: here.root.present().map(|_| vm.uid.dm_root()),
        dm_device: here.root.present().map(|root| root.node.clone()),
    }
}
