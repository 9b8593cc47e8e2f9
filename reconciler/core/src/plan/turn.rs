//! `updatePolicy: Auto`: whose turn it is to be restarted.
//!
//! One VM at a time, so that a change of many takes no more than one away: the
//! first by name, and nobody while another has the turn. A VM has it from its
//! stop until its guest answers. It loses it, so that what is broken in its own
//! way keeps nobody else from being restarted:
//!
//! - while it can't be started for want of something: its image, memory, room
//!   on the disk, a person's word; or while it is in crash back-off;
//! - once it failed [`TRIES`] times in a row, half a minute after the first time;
//! - once its guest has been silent for [`BOOT_MS`], or says that it can't boot.
//!   An image without banger's agent never says anything.
//!
//! Restarts that a person asks for or confirms don't wait for a turn.

use banger_protocol::VmUid;

use super::action::{Plan, Why};
use super::vm::{self, wants_to_run};
use super::{Clock, waiting_until};
use crate::api::virtual_machine::UpdatePolicy;
use crate::effect::{self, Effect};
use crate::intent::{Intents, VmIntent};
use crate::observed::{Guest, Instance, Observed, Presence};

/// Failures in a row after which a VM is taken for broken.
const TRIES: u32 = 5;
/// A guest that hasn't answered for so long after its start may never do.
const BOOT_MS: u64 = 120_000;

/// Leaves, of the restarts that policies ask for, the one whose turn it is.
pub(super) fn take(intents: &Intents, observed: &Observed, clock: Clock, plan: &mut Plan) {
    let by_policy = plan.vms.iter().filter(|action| action.is_by_policy());
    let mut restarts: Vec<_> = by_policy.map(|it| (it.name.clone(), it.uid)).collect();
    if restarts.is_empty() {
        return;
    }
    restarts.sort();
    let vms = intents.vms.values();
    let taken: Vec<VmUid> = vms
        .filter(|vm| has_turn(vm, intents, observed, clock, plan))
        .map(|vm| vm.uid)
        .collect();
    // One that boots may be the very one that is to be restarted.
    let is_free = |uid: &VmUid| taken.iter().all(|other| other == uid);
    let next = restarts.iter().map(|(_, uid)| *uid).find(is_free);
    let waiting = restarts.iter().map(|(_, uid)| *uid);
    for uid in waiting.filter(|uid| Some(*uid) != next) {
        plan.vms.retain(|action| action.uid != uid);
        plan.waiting.retain(|waiting| waiting.uid != uid);
        vm::plan_without_turn(&intents.vms[&uid], intents, observed, clock, plan);
    }
}

fn has_turn(
    vm: &VmIntent,
    intents: &Intents,
    observed: &Observed,
    clock: Clock,
    plan: &Plan,
) -> bool {
    let auto = vm.spec.update_policy == UpdatePolicy::Auto;
    let broken = vm.error.failures >= TRIES || waiting_until(&vm.crash, clock).is_some();
    if !auto || broken || !wants_to_run(vm) {
        return false;
    }
    let here = observed.vm(vm.uid);
    let started = vm.started.as_ref();
    let started = started.filter(|started| started.boot_id == observed.boot_id);
    match &here.vmm {
        Presence::Unknown(_) => false,
        Presence::Present(vmm) if vmm.instance != Instance::NotStarted => match started {
            // That its end was asked for is written down before it comes.
            None => {
                let known = here.started_with(&observed.boot_id).is_some();
                known && vmm.instance == Instance::Running
            }
            Some(started) => {
                let young = clock.boot_ms.saturating_sub(started.boot_ms) < BOOT_MS;
                young && here.guest == Guest::Silent
            }
        },
        // Off, or not yet booted, and something is done about that.
        Presence::Absent | Presence::Present(_) => {
            let mut changes = effect::pending(vm, intents).into_iter();
            let restarts = changes.any(|change| change.effect == Effect::Restart);
            let mut actions = plan.vms.iter().filter(|action| action.uid == vm.uid);
            let acts = actions.any(|action| !action.is_bookkeeping());
            let tries_again = plan
                .waiting
                .iter()
                .any(|waiting| waiting.uid == vm.uid && matches!(waiting.why, Why::BackOff { .. }));
            restarts && (acts || tries_again)
        }
    }
}
