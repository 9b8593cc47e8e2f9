//! What is taken already: slots, ports of the host, room in its filter.

use std::collections::BTreeMap;

use banger_protocol::{Cidrs, Slot, VmUid};

use crate::api::virtual_machine::{Port, Protocol};
use crate::intent::Intents;
use crate::orphans::Orphans;

/// Who holds what. An object on its way out still holds its slot and ports,
/// and what no intent knows holds its slot.
pub(super) struct Claims {
    slots: BTreeMap<Slot, VmUid>,
    ports: BTreeMap<(u16, Protocol), (VmUid, String)>,
    egress: BTreeMap<VmUid, Networks>,
}

/// How many networks an egress policy has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Networks {
    /// Of both families.
    pub(super) all: usize,
    /// Of IPv6.
    pub(super) ipv6: usize,
}

impl Networks {
    pub(super) fn of(egress: Option<&Cidrs>) -> Self {
        egress.map_or_else(Self::default, |egress| Self {
            all: egress.len(),
            ipv6: egress.len6(),
        })
    }
}

impl Claims {
    pub(super) fn of(intents: &Intents, orphans: &Orphans) -> Self {
        let known = intents.vms.values().map(|vm| (vm.allocation.slot, vm.uid));
        let slots = orphans.slots().chain(known).collect();
        let ports = intents.vms.values().flat_map(|vm| {
            let holder = (vm.uid, vm.name().to_string());
            vm.spec
                .ports
                .iter()
                .map(move |port| ((port.host, port.protocol), holder.clone()))
        });
        let egress = intents
            .vms
            .values()
            .map(|vm| (vm.uid, Networks::of(vm.spec.egress.as_ref())));
        Self {
            slots,
            ports: ports.collect(),
            egress: egress.collect(),
        }
    }

    /// The lowest free slot.
    pub(super) fn free_slot(&self, slots: u16) -> Option<Slot> {
        (1..=slots)
            .filter_map(|n| Slot::try_from(n).ok())
            .find(|slot| !self.slots.contains_key(slot))
    }

    /// Who holds this slot.
    pub(super) fn holder(&self, slot: Slot) -> Option<VmUid> {
        self.slots.get(&slot).copied()
    }

    /// Whether nobody holds this slot.
    pub(super) fn is_free(&self, slot: Slot) -> bool {
        !self.slots.contains_key(&slot)
    }

    pub(super) fn take_slot(&mut self, slot: Slot, uid: VmUid) {
        self.slots.insert(slot, uid);
    }

    /// The first of these ports that another VM holds, with its name.
    pub(super) fn clash<'a>(
        &self,
        uid: Option<VmUid>,
        ports: &'a [Port],
    ) -> Option<(&'a Port, &str)> {
        ports.iter().find_map(|port| {
            let (holder, name) = self.ports.get(&(port.host, port.protocol))?;
            (Some(*holder) != uid).then_some((port, name.as_str()))
        })
    }

    /// Gives a VM exactly these ports.
    pub(super) fn take_ports(&mut self, uid: VmUid, name: &str, ports: &[Port]) {
        self.ports.retain(|_, (holder, _)| *holder != uid);
        for port in ports {
            self.ports
                .insert((port.host, port.protocol), (uid, name.to_owned()));
        }
    }

    /// Networks in the egress policies of all VMs but this one.
    pub(super) fn egress_of_others(&self, uid: Option<VmUid>) -> Networks {
        let others = self
            .egress
            .iter()
            .filter(|(holder, _)| Some(**holder) != uid);
        others.fold(Networks::default(), |sum, (_, networks)| Networks {
            all: sum.all + networks.all,
            ipv6: sum.ipv6 + networks.ipv6,
        })
    }

    pub(super) fn take_egress(&mut self, uid: VmUid, egress: Option<&Cidrs>) {
        self.egress.insert(uid, Networks::of(egress));
    }
}
