//! That no kind of call is left out.

use std::collections::BTreeSet;

use banger_core::api::Quantity;
use banger_core::intent::{Applied, ImageDigest};
use banger_core::plan::{HostStep, Step};
use banger_protocol::{DiskRole, NetworkPolicy, Sectors};
use banger_testkit::{generate, host_step_name};

use super::world::pool;
use super::{dry, paused, scenarios};

/// One of each kind, by the name that its calls have. A new kind doesn't
/// compile in `vm_kind` or `host_kind` until it has a number there; give it a
/// line here too, and a scenario that reaches it.
fn kinds() -> (Vec<Step>, Vec<HostStep>) {
    let image = ImageDigest("ab".repeat(32));
    let size = Sectors(2048);
    let role = DiskRole::Cow;
    let intent = generate::vm(1, generate::spec("debian"));
    let applied = Box::new(Applied {
        spec: intent.spec,
        generation: 1,
        image: image.clone(),
        restart_token: 0,
    });
    let steps = vec![
        Step::MakeRootDisk { size },
        Step::MakeWorkDisk { size },
        Step::TrashDisk { role },
        Step::AttachLoop { role, image: None },
        Step::EnsureRoot { size },
        Step::EnsureTap,
        Step::StartVmm { image },
        Step::BootGuest { applied },
        Step::PublishPorts,
        Step::UpdateGuest,
        Step::PauseGuest,
        Step::ResumeGuest,
        Step::ShutDownGuest { grace_seconds: 1 },
        Step::KillVmm,
        Step::RemoveVmm,
        Step::RemoveTap,
        Step::RemoveRoot,
        Step::DetachLoop { role },
        Step::RestoreDisks,
        Step::KeepRecord,
        Step::DropDisks { purge: true },
        Step::DropDisks { purge: false },
    ];
    let host = vec![
        HostStep::EnsureBridge { ipv6: true },
        HostStep::EnsureNat {
            policy: NetworkPolicy::default(),
        },
        HostStep::EnsurePool {
            size: pool().size,
            parallel: pool().parallel,
        },
        HostStep::EnsureBallast {
            size: Quantity::default(),
        },
        HostStep::ReleaseBallast,
    ];
    (steps, host)
}

const VM_KINDS: usize = 21;
const HOST_KINDS: usize = 5;

/// `None`: it is the store's, and never reaches a host.
const fn vm_kind(step: &Step) -> Option<usize> {
    Some(match step {
        Step::MakeRootDisk { .. } => 0,
        Step::MakeWorkDisk { .. } => 1,
        Step::TrashDisk { .. } => 2,
        Step::AttachLoop { .. } => 3,
        Step::EnsureRoot { .. } => 4,
        Step::EnsureTap => 5,
        Step::StartVmm { .. } => 6,
        Step::BootGuest { .. } => 7,
        Step::PublishPorts => 8,
        Step::UpdateGuest => 9,
        Step::PauseGuest => 10,
        Step::ResumeGuest => 11,
        Step::ShutDownGuest { .. } => 12,
        Step::KillVmm => 13,
        Step::RemoveVmm => 14,
        Step::RemoveTap => 15,
        Step::RemoveRoot => 16,
        Step::DetachLoop { .. } => 17,
        Step::RestoreDisks => 18,
        Step::DropDisks { .. } => 19,
        Step::KeepRecord => 20,
        Step::PinImage { .. }
        | Step::RecordStart { .. }
        | Step::RecordExit { .. }
        | Step::Forget => return None,
    })
}

const fn host_kind(step: &HostStep) -> usize {
    match step {
        HostStep::EnsureBridge { .. } => 0,
        HostStep::EnsureNat { .. } => 1,
        HostStep::EnsurePool { .. } => 2,
        HostStep::EnsureBallast { .. } => 3,
        HostStep::ReleaseBallast => 4,
    }
}

#[test]
fn the_scenarios_reach_every_kind_of_call() {
    let mut reached = BTreeSet::new();
    for scenario in scenarios() {
        let (sites, _) = paused().block_on(dry(&scenario.before, &scenario.acts));
        reached.extend(sites.into_iter().map(|site| site.name));
    }
    let (steps, host) = kinds();
    let numbers: BTreeSet<_> = steps.iter().filter_map(vm_kind).collect();
    assert_eq!(numbers, (0..VM_KINDS).collect(), "a kind has no line");
    let numbers: BTreeSet<_> = host.iter().map(host_kind).collect();
    assert_eq!(numbers, (0..HOST_KINDS).collect(), "a kind has no line");
    let others = [
        "importing an image",
        "removing an image",
        "listing",
        "removing a leftover",
        "observing",
        "reading the trash",
        "emptying the trash",
        "looking at the room",
    ];
    let steps = steps.iter().map(Step::describe);
    let host = host.iter().map(|step| host_step_name(step).to_owned());
    let names = steps.chain(host).chain(others.map(str::to_owned));
    let missing: Vec<_> = names.filter(|name| !reached.contains(name)).collect();
    assert_eq!(missing, Vec::<String>::new(), "of {reached:#?}");
}
