//! What is taken already: slots, ports of the host, room in its filter.

use std::collections::BTreeMap;

use banger_protocol::{Cidrs, Slot, VmUid};

use crate::api::virtual_machine::{Port, Protocol};
use crate::intent::Intents;

/// Who holds what. An object on its way out still holds its slot and ports.
pub(super) struct Claims {
    slots: BTreeMap<Slot, VmUid>,
    ports: BTreeMap<(u16, Protocol), (VmUid, String)>,
    /// How many networks each egress policy has.
    egress: BTreeMap<VmUid, usize>,
}

impl Claims {
    pub(super) fn of(intents: &Intents) -> Self {
        let slots = intents
            .vms
            .values()
            .map(|vm| (vm.allocation.slot, vm.uid))
            .collect();
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
            .filter_map(|vm| Some((vm.uid, vm.spec.egress.as_ref()?.len())));
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
    pub(super) fn egress_of_others(&self, uid: Option<VmUid>) -> usize {
        let others = self
            .egress
            .iter()
            .filter(|(holder, _)| Some(**holder) != uid);
        others.map(|(_, networks)| networks).sum()
    }

    pub(super) fn take_egress(&mut self, uid: VmUid, egress: Option<&Cidrs>) {
        self.egress.insert(uid, egress.map_or(0, Cidrs::len));
    }
}
