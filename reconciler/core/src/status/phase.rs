//! The one word of the STATUS column.

use super::{View, disk};
use crate::api::status::Phase;
use crate::intent::VmIntent;
use crate::observed::{Guest, Instance, Presence};
use crate::plan::{Why, wants_to_run};

/// A VM's phase, and a sentence about it where there is one to say.
pub(super) fn of(view: &View<'_>, vm: &VmIntent) -> (Phase, String) {
    let here = view.observed.vm(vm.uid);
    let busy = view.activity.running.get(&vm.uid);
    let doing = busy.cloned().unwrap_or_default();
    if vm.deletion.is_some() {
        return (Phase::Deleting, error(view, vm).unwrap_or(doing));
    }
    if let Some(why) = here.first_unknown() {
        return (Phase::Unknown, why.to_owned());
    }
    let wants = wants_to_run(vm);
    match &here.vmm {
        Presence::Present(_) if !wants => (Phase::Stopping, doing),
        Presence::Present(vmm) => match (&vmm.instance, &here.guest) {
            (Instance::NotStarted, _) => (Phase::Creating, doing),
            (Instance::Unknown(why), _) => (Phase::Unknown, why.clone()),
            // What its agent said last is from before.
            (Instance::Paused, _) => (Phase::Paused, disk::waits(view, vm.uid).unwrap_or(doing)),
            (Instance::Running, Guest::Ready) if busy.is_some() => (Phase::Ready, doing),
            (Instance::Running, Guest::Ready) => {
                (Phase::Ready, error(view, vm).unwrap_or_default())
            }
            (Instance::Running, Guest::Silent) => (Phase::Booting, silent(view, vm)),
            (Instance::Running, Guest::Failed { stage, message }) => (
                Phase::Failed,
                format!("the guest can't boot: {stage}: {message}"),
            ),
            (Instance::Running, Guest::Lost(why)) => {
                (Phase::NotReady, format!("the agent doesn't answer: {why}"))
            }
            (Instance::Running, Guest::Leaving) => {
                (Phase::Stopping, "the guest is shutting down".into())
            }
        },
        Presence::Absent | Presence::Unknown(_) if !wants && busy.is_some() => {
            (Phase::Stopping, doing)
        }
        Presence::Absent | Presence::Unknown(_) if !wants => {
            (Phase::Stopped, error(view, vm).unwrap_or_default())
        }
        Presence::Absent | Presence::Unknown(_) if busy.is_some() => (Phase::Creating, doing),
        Presence::Absent | Presence::Unknown(_) => missing(view, vm),
    }
}

/// A guest that hasn't said anything, and why it may stay so.
fn silent(view: &View<'_>, vm: &VmIntent) -> String {
    let not_yet = "the guest has not reported yet";
    let own_initrd = view.intents.images.values().find(|image| {
        image.spec.initrd.is_some()
            && image.imported.as_ref().is_some_and(|imported| {
                // Of the document as it is now, and what the VM was made from.
                imported.generation == image.generation
                    && vm.image.as_ref() == Some(&imported.digest)
            })
    });
    match own_initrd {
        Some(image) => format!(
            "{not_yet}; only banger's agent does, and the initrd of image `{}` is one's own",
            image.name()
        ),
        None => not_yet.to_owned(),
    }
}

fn missing(view: &View<'_>, vm: &VmIntent) -> (Phase, String) {
    let mut failed = None;
    for waiting in view
        .plan
        .waiting
        .iter()
        .filter(|waiting| waiting.uid == vm.uid)
    {
        match &waiting.why {
            Why::CrashLoopBackOff { .. } => {
                let message = format!(
                    "Firecracker ended {} times; it is started again soon",
                    vm.crash.failures
                );
                return (Phase::CrashLoopBackOff, message);
            }
            Why::BackOff { .. } => failed = Some(Phase::Failed),
            Why::ImageNotReady { message }
            | Why::InsufficientMemory { message }
            | Why::OrphanInTheWay { message }
            | Why::RootDiskTooSmall { message } => return (Phase::Pending, message.clone()),
            Why::ObservationFailed { message } => return (Phase::Unknown, message.clone()),
            Why::DiskMissing { changes } => {
                return (Phase::Pending, disk::lost(view, vm, changes));
            }
            Why::DiskPressure { left, needed } => {
                return (Phase::Pending, disk::words(view, *left, *needed));
            }
            Why::RestartRequired { .. }
            | Why::ConfirmationRequired { .. }
            | Why::StartNotRecorded => {}
        }
    }
    let message = error(view, vm).unwrap_or_default();
    (failed.unwrap_or(Phase::Creating), message)
}

fn error(view: &View<'_>, vm: &VmIntent) -> Option<String> {
    let (message, remedy) = view.activity.last_error.get(&vm.uid)?;
    Some(match remedy {
        Some(remedy) => format!("{message} ({remedy})"),
        None => message.clone(),
    })
}
