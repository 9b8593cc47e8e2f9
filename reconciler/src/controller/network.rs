//! The host's network tables, as this daemon last knew them: what somebody else
//! changed is told apart from what is to be changed anyway.

use banger_core::api::Kind;
use banger_core::intent::Intents;
use banger_core::observed::{Observed, Presence};
use banger_core::plan::{HostStep, Plan, wants_to_run};
use banger_protocol::NetworkPolicy;

use crate::store::NewEvent;
use crate::wire::response::Severity;

/// What stood in the tables last, and in which boot of the host.
#[derive(Debug, Default)]
pub(super) struct Stood(Option<(String, NetworkPolicy)>);

impl Stood {
    /// Whether somebody else has changed the tables since.
    pub(super) fn differs(&self, observed: &Observed) -> bool {
        let Some((boot, stood)) = &self.0 else {
            return false;
        };
        *boot == observed.boot_id
            && match &observed.nat {
                Presence::Absent => true,
                Presence::Present(now) => now != stood,
                Presence::Unknown(_) => false,
            }
    }

    /// Remembers what stands after the host's own steps.
    pub(super) fn remember(&mut self, plan: &Plan, observed: &Observed, done: bool) {
        let made = plan.host.iter().find_map(|step| match step {
            HostStep::EnsureNat { policy } => Some(policy),
            _ => None,
        });
        let stands = match made {
            Some(policy) => Some(policy).filter(|_| done),
            None => observed.nat.present(),
        };
        match stands {
            Some(policy) => self.0 = Some((observed.boot_id.clone(), policy.clone())),
            // Not known for the moment: what was known before still counts.
            None if observed.nat.unknown().is_some() => {}
            None => self.0 = None,
        }
    }
}

/// What the VMs are told whose network it is.
pub(super) fn repaired(intents: &Intents) -> Vec<NewEvent> {
    let running = intents.vms.values().filter(|vm| wants_to_run(vm));
    running
        .map(|vm| NewEvent {
            kind: Kind::VirtualMachine,
            name: vm.name().to_string(),
            severity: Severity::Warning,
            reason: "NetworkRepaired",
            message: "somebody else had changed the host's nftables tables `banger`, or turned \
                      forwarding off; they are as they should be again"
                .to_owned(),
        })
        .collect()
}
