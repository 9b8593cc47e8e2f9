//! What is to be done: a pure function of intents, observation and clock.
//!
//! Guarantees: whatever could not be observed is neither made nor removed;
//! removals come before additions; nothing that the intents don't know is
//! touched; once the steps of a plan have succeeded, the next plan asks for
//! nothing more of the same; `updatePolicy: Auto` restarts one VM at a time.

pub mod action;
mod ballast;
mod host;
mod image;
mod pool;
mod room;
pub mod step;
mod turn;
mod vm;

pub use action::{Plan, Verb, VmPlan, Waiting, Why};
pub use ballast::release_ballast;
pub use pool::PoolTarget;
pub use step::{Ending, HostStep, ImageStep, Step};
pub use vm::wants_to_run;

use crate::intent::{Backoff, Intents};
use crate::observed::Observed;
use crate::pressure::DiskState;

/// What a plan needs to know of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds since the host's boot (`CLOCK_BOOTTIME`).
    pub boot_ms: u64,
    /// Memory that new VMs may take, bytes; `None`: it can't be told.
    pub available_memory: Option<u64>,
    /// The tap pool, as the owner wants it; `None`: it is left as it is.
    pub pool: Option<PoolTarget>,
    /// How full the disk is.
    pub disk: DiskState,
    /// Whether guests reach one another.
    pub guest_to_guest: bool,
    /// Whether guests are to have IPv6, where the host has it.
    pub ipv6: bool,
}

/// No back-off is longer: a later time is from before a reboot, whose clock began anew.
pub const LONGEST_BACKOFF_MS: u64 = 300_000;

/// When a back-off ends, if it hasn't.
pub(crate) fn waiting_until(backoff: &Backoff, clock: Clock) -> Option<u64> {
    let left = backoff.not_before_ms.checked_sub(clock.boot_ms)?;
    (left > 0 && left <= LONGEST_BACKOFF_MS).then_some(backoff.not_before_ms)
}

/// The plan.
pub fn plan(intents: &Intents, observed: &Observed, clock: Clock) -> Plan {
    let mut plan = Plan {
        host: host::plan(intents, observed, clock),
        pool: pool::plan(intents, observed, clock.pool),
        ballast: ballast::plan(observed, clock.disk),
        ..Plan::default()
    };
    let mut memory = clock.available_memory;
    for image in intents.images.values() {
        image::plan(image, intents, observed, clock, &mut plan);
    }
    for vm in intents.vms.values() {
        vm::plan(vm, intents, observed, clock, &mut memory, &mut plan);
    }
    turn::take(intents, observed, clock, &mut plan);
    plan.vms
        .sort_by(|a, b| (a.verb, &a.name).cmp(&(b.verb, &b.name)));
    plan
}
