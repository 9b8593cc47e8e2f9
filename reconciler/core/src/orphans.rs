//! VMs that the host holds and no intent knows: the database was lost, or an
//! old one put back.
//!
//! Guarantees: a document takes over the VM of its name whose record lies
//! beside its disks, with uid, disks and address, and off if somebody stopped
//! it; nobody else is given an address that such a VM has.

use std::collections::BTreeMap;

use banger_protocol::{Slot, VmUid};

use crate::api::Name;
use crate::intent::{Backoff, Intents, PowerOverride, VmIntent};
use crate::observed::{Observed, ObservedVm, vm_alive};

/// What of the host no intent knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Each with whether it runs, or may.
    vms: BTreeMap<Name, (bool, VmIntent)>,
    slots: BTreeMap<Slot, VmUid>,
    unknown: Option<String>,
}

impl Orphans {
    /// All that these intents don't know. They must have been read before the
    /// host was: a VM that went meanwhile is no orphan.
    pub fn of(observed: &Observed, intents: &Intents) -> Self {
        let mut orphans = Self::default();
        let unread = observed.elsewhere.cow_file.unknown();
        orphans.unknown = unread.map(str::to_owned);
        let mut best: BTreeMap<&Name, (bool, VmUid, &VmIntent)> = BTreeMap::new();
        let all = observed.vms.iter();
        let unknown: Vec<_> = all
            .filter(|(uid, _)| !intents.vms.contains_key(uid))
            .collect();
        // A tap is there; a record may be of a time when the slot was the VM's.
        for (uid, here) in &unknown {
            if let Some(slot) = here.slot {
                orphans.slots.entry(slot).or_insert(**uid);
            }
        }
        for (uid, here) in &unknown {
            if let Some(record) = &here.record {
                let slot = record.vm.allocation.slot;
                orphans.slots.entry(slot).or_insert(**uid);
            }
        }
        for (uid, here) in unknown {
            if let Some(why) = here.cow_file.unknown() {
                orphans.unknown.get_or_insert(why.to_owned());
            }
            let vm = here.record.as_ref().map(|record| &record.vm);
            let Some(vm) = vm.filter(|_| has_disks(here)) else {
                continue;
            };
            // Of two, the one that runs, as far as can be told, or else the one that
            // was made later.
            let rank = (vm_alive(here) != Some(false), *uid, vm);
            match best.get(vm.name()) {
                Some(other) if (other.0, other.1) > (rank.0, rank.1) => {}
                _ => {
                    best.insert(vm.name(), rank);
                }
            }
        }
        let vms = best.into_iter();
        let owned = |(name, (runs, _, vm)): (&Name, (bool, VmUid, &VmIntent))| {
            (name.clone(), (runs, vm.clone()))
        };
        orphans.vms = vms.map(owned).collect();
        orphans
    }

    /// The VM that a document of this name takes over, as an intent again, and
    /// whether it runs, or may.
    pub(crate) fn vm(&self, name: &Name) -> Option<(bool, VmIntent)> {
        let (runs, vm) = self.vms.get(name)?.clone();
        let mut vm = VmIntent {
            confirmations: Vec::new(),
            deletion: None,
            restoring: false,
            renaming: None,
            // Whether it runs as recorded is for the host to say.
            started: None,
            // What runs isn't ended for what is written beside its disks: that
            // may be older than its start.
            completed: vm.completed && !runs,
            power: match vm.power {
                PowerOverride::Stopped if runs => PowerOverride::None,
                power => power,
            },
            crash: Backoff::default(),
            error: Backoff::default(),
            ..vm
        };
        // The record was renewed since the start that it tells of.
        if let Some(applied) = &mut vm.applied {
            applied.follow(&vm.spec);
        }
        Some((runs, vm))
    }

    /// The uid of the one that a document of this name would take over.
    pub fn named(&self, name: &Name) -> Option<VmUid> {
        self.vms.get(name).map(|(_, vm)| vm.uid)
    }

    /// The slots that they have.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (Slot, VmUid)> {
        self.slots.iter().map(|(slot, uid)| (*slot, *uid))
    }

    /// Why it can't be told what VMs the host holds.
    pub(crate) fn why_unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }
}

fn has_disks(here: &ObservedVm) -> bool {
    here.cow_file.present().is_some() || here.work_file.present().is_some()
}
