//! The host as a whole: the bridge, and what guests may reach.

use banger_protocol::NetworkPolicy;
use banger_protocol::inventory::Ipv6;

use super::vm::wants_to_run;
use super::{Clock, HostStep};
use crate::intent::{Intents, VmIntent};
use crate::observed::{Observed, Presence};

pub(super) fn plan(intents: &Intents, observed: &Observed, clock: Clock) -> Vec<HostStep> {
    let mut steps = Vec::new();
    let running = || intents.vms.values().filter(|vm| wants_to_run(vm));
    let any = running().next().is_some();
    let ipv6 = ipv6(observed, clock);
    let stands = match (&observed.bridge, &observed.ipv6) {
        (Presence::Absent, _) => false,
        (Presence::Present(()), Presence::Present(far)) => ipv6 == (*far == Ipv6::Bridge),
        _ => true,
    };
    if any && !stands {
        steps.push(HostStep::EnsureBridge { ipv6 });
    }
    let mut policy = NetworkPolicy {
        isolated: !clock.guest_to_guest,
        ipv6,
        ..NetworkPolicy::default()
    };
    let egress = |vm: &VmIntent| Some((vm.allocation.slot, vm.spec.egress.clone()?));
    let slots = running().filter(|vm| vm.spec.nat);
    policy.guests = slots.map(|vm| vm.allocation.slot).collect();
    let mut policies: Vec<_> = running().filter_map(egress).collect();
    if let Some(orphans) = orphans(intents, observed) {
        policy.guests.extend(orphans.guests);
        policies.extend(
            orphans
                .egress
                .iter()
                .map(|(slot, allow)| (slot, allow.clone())),
        );
    }
    policy.egress = policies.into_iter().collect();
    if !ipv6 {
        policy = policy.without_ipv6();
    }
    let stands = match &observed.nat {
        Presence::Present(now) => *now == policy,
        // Without a table nobody is let out, but nobody is kept from the
        // host's own services either: as soon as a guest runs there is one.
        Presence::Absent => !any,
        Presence::Unknown(_) => true,
    };
    if !stands {
        steps.push(HostStep::EnsureNat { policy });
    }
    steps
}

/// Whether guests have IPv6. Where it can't be told what the host has, they have
/// what they had.
fn ipv6(observed: &Observed, clock: Clock) -> bool {
    clock.ipv6
        && match &observed.ipv6 {
            Presence::Present(far) => *far != Ipv6::Off,
            Presence::Absent => false,
            Presence::Unknown(_) => observed.nat.present().is_some_and(|now| now.ipv6),
        }
}

/// What is in the tables of guests that no intent knows, as long as a VMM may
/// run that no intent knows either: with a lost database, running VMs keep
/// their network, and its bounds.
fn orphans(intents: &Intents, observed: &Observed) -> Option<NetworkPolicy> {
    let runs = observed.elsewhere.vmm.unknown().is_some()
        || observed
            .vms
            .iter()
            .any(|(uid, vm)| vm.vmm.present().is_some() && !intents.vms.contains_key(uid));
    let now = observed.nat.present().filter(|_| runs)?;
    let known = |slot| intents.vms.values().any(|vm| vm.allocation.slot == slot);
    let egress = now.egress.iter().filter(|(slot, _)| !known(*slot));
    Some(NetworkPolicy {
        guests: now
            .guests
            .iter()
            .copied()
            .filter(|slot| !known(*slot))
            .collect(),
        egress: egress.map(|(slot, allow)| (slot, allow.clone())).collect(),
        ..now.clone()
    })
}
