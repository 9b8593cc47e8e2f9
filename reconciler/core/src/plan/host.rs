//! The host as a whole: the bridge, and who may go out.

use std::collections::BTreeSet;

use banger_protocol::Slot;

use super::HostStep;
use super::vm::wants_to_run;
use crate::intent::Intents;
use crate::observed::{Observed, Presence};

pub(super) fn plan(intents: &Intents, observed: &Observed) -> Vec<HostStep> {
    let mut steps = Vec::new();
    let any = intents.vms.values().any(wants_to_run);
    if any && observed.bridge.is_absent() {
        steps.push(HostStep::EnsureBridge);
    }
    let mut guests: BTreeSet<_> = intents
        .vms
        .values()
        .filter(|vm| vm.spec.nat && wants_to_run(vm))
        .map(|vm| vm.allocation.slot)
        .collect();
    guests.extend(orphans(intents, observed));
    let stands = match &observed.nat {
        Presence::Present(now) => *now == guests,
        // Without a table nobody is let out, but nobody is kept from the
        // host's own services either: as soon as a guest runs there is one.
        Presence::Absent => !any,
        Presence::Unknown(_) => true,
    };
    if !stands {
        steps.push(HostStep::EnsureNat { guests });
    }
    steps
}

/// Guests in the table that no intent knows, as long as a VMM may run that no
/// intent knows either: with a lost database, running VMs keep their network.
fn orphans(intents: &Intents, observed: &Observed) -> BTreeSet<Slot> {
    let runs = observed.elsewhere.vmm.unknown().is_some()
        || observed
            .vms
            .iter()
            .any(|(uid, vm)| vm.vmm.present().is_some() && !intents.vms.contains_key(uid));
    let Presence::Present(now) = &observed.nat else {
        return BTreeSet::new();
    };
    if !runs {
        return BTreeSet::new();
    }
    let known: BTreeSet<_> = intents.vms.values().map(|vm| vm.allocation.slot).collect();
    now.difference(&known).copied().collect()
}
