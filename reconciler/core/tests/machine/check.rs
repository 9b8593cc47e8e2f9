//! What must hold at every pass.

use std::collections::BTreeSet;

use banger_core::api::{Kind, Name};
use banger_core::intent::Intents;
use banger_core::observed::{Observed, ObservedVm};
use banger_core::plan::{ImageStep, Plan, Step, Verb};
use banger_core::pressure::Pressure;
use banger_core::trash::Trashed;
use banger_protocol::VmUid;

use crate::file::File;
use crate::model::brought_back;
use crate::world::World;

impl World {
    /// No document, no deletion without one; and nobody shares anything.
    pub(crate) fn check_admission(&mut self, before: &Intents) {
        let mut slots = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for vm in self.intents.vms.values() {
            assert!(
                slots.insert(vm.allocation.slot),
                "{} shares a slot",
                vm.name()
            );
            let address = vm.allocation.address;
            assert!(addresses.insert(address), "{} shares {address}", vm.name());
        }
        self.model.check_renames(&self.files, before, &self.intents);
        self.check_new(before);
        let lasting = std::mem::take(&mut self.kept);
        for (name, file) in &self.files {
            if *file == File::Absent {
                continue;
            }
            let name: Name = name.parse().unwrap();
            let now = self.intents.vm(&name);
            if let Some(now) = now.filter(|now| now.deletion.is_none()) {
                self.kept.insert(name.to_string(), now.uid);
            }
            if *file == File::Garbage && self.has_the_name_asked_for(before, &name) {
                continue;
            }
            if let Some(uid) = lasting.get(name.as_str()) {
                let now = now.unwrap_or_else(|| panic!("{name} is lost though it has a file"));
                assert_eq!(now.uid, *uid, "{name} is another one now");
                assert!(
                    now.deletion.is_none(),
                    "{name} is deleted though it has a file"
                );
            }
            let broken = matches!(file, File::Refused | File::Garbage);
            if broken && let Some(old) = before.vm(&name) {
                let now = &self.intents.vms[&old.uid];
                assert_eq!(
                    now.deletion, old.deletion,
                    "{name}: a broken file decided that"
                );
                assert_eq!(now.spec, old.spec, "{name}: a broken file changed the spec");
            }
        }
    }

    /// A file that says nothing does not say that its VM is called as before: where a
    /// document has the name that somebody asked for, the VM has it.
    fn has_the_name_asked_for(&self, before: &Intents, name: &Name) -> bool {
        let old = before.vm(name);
        let now = old.and_then(|old| Some((old, self.intents.vms.get(&old.uid)?)));
        now.is_some_and(|(old, now)| old.renaming.as_ref() == Some(now.name()))
    }

    /// Each name that is new: the VM that was renamed to it, one that the host
    /// holds and that is recorded under it, one that lay in the trash, or a VM
    /// that there never was.
    fn check_new(&self, before: &Intents) {
        let Ok(trash) = self.host.do_trash() else {
            return;
        };
        for vm in self.intents.vms.values() {
            let name = vm.name();
            if before.vm(name).is_some_and(|old| old.uid == vm.uid) {
                continue;
            }
            if let Some(old) = before.vms.get(&vm.uid) {
                assert_eq!(old.renaming.as_ref(), Some(name), "nobody renamed it");
                continue;
            }
            if let Some(held) = self.host.holds(vm.uid) {
                let record = held.record.as_ref().map(|record| record.vm.name());
                assert_eq!(record, Some(name), "it is another's");
                continue;
            }
            let wanted = |entry: &Trashed| self.wanted.contains(&entry.id);
            let expected = brought_back(name, &trash, wanted, before);
            assert_eq!(expected.is_some(), vm.restoring, "{name}");
            assert!(expected.is_none_or(|uid| uid == vm.uid), "{name}");
        }
    }

    /// What the mass guard held is there until its document is back or somebody
    /// deletes it by name, whichever daemon runs.
    pub(crate) fn check_guarded(&mut self, before: &Intents) {
        for uid in std::mem::take(&mut self.guarded) {
            let live = |intents: &Intents| {
                let vm = intents.vms.get(&uid)?;
                vm.deletion.is_none().then(|| vm.name().clone())
            };
            if let Some(name) = live(before) {
                assert!(live(&self.intents).is_some(), "{name} was held, and went");
            }
        }
        let held = self.vanished.guarded.iter();
        let held = held.filter(|(kind, _)| *kind == Kind::VirtualMachine);
        let held = held.filter_map(|(_, name)| self.intents.vm(name));
        self.guarded = held.map(|vm| vm.uid).collect();
    }

    /// What no intent knows, as it is.
    pub(crate) fn orphans_as_they_are(&self) -> Vec<(VmUid, Option<ObservedVm>)> {
        let orphans = self.orphaned().into_iter();
        orphans.map(|uid| (uid, self.as_it_is(uid))).collect()
    }

    /// Nothing was done to them.
    pub(crate) fn check_orphans(&self, before: Vec<(VmUid, Option<ObservedVm>)>) {
        for (uid, before) in before {
            assert_eq!(self.as_it_is(uid), before, "an orphan was touched");
        }
    }

    fn as_it_is(&self, uid: VmUid) -> Option<ObservedVm> {
        let here = self.host.holds(uid)?;
        // The bridge has a part in that.
        Some(ObservedVm { ipv6: None, ..here })
    }
}

/// What can't be seen is neither made nor removed.
pub(crate) fn check_plan(plan: &Plan, observed: &Observed) {
    for action in &plan.vms {
        let here = observed.vm(action.uid);
        if action.verb == Verb::Pause {
            // Neither, and it can't wait until all can be seen.
            assert!(here.vmm.present().is_some(), "{action:?}");
            continue;
        }
        let why = here.first_unknown();
        assert!(why.is_none(), "{why:?}, but {action:?}");
    }
    let by_policy = plan.vms.iter().filter(|action| action.is_by_policy());
    assert!(by_policy.count() <= 1, "several at once: {plan:#?}");
    for step in &plan.images {
        let removes = matches!(step, ImageStep::Remove { .. });
        assert!(!removes || observed.images.unknown().is_none(), "{step:?}");
    }
}

/// Nothing is made without room for it, and nothing writes without any; what
/// can't be told changes nothing.
pub(crate) fn check_pressure(plan: &Plan, observed: &Observed, pressure: Pressure) {
    let known = observed.room.present().is_some();
    for action in &plan.vms {
        let here = observed.vm(action.uid);
        let room = match action.verb {
            Verb::Create if here.cow_file.is_absent() => known && pressure == Pressure::None,
            Verb::Create | Verb::Resume => known && pressure < Pressure::Guests,
            Verb::Pause => known && pressure == Pressure::Guests,
            _ => true,
        };
        let writes = action.steps.contains(&Step::KeepRecord);
        let full = known && pressure == Pressure::Guests;
        let room = room && !(writes && full);
        assert!(room, "{pressure:?}, {:?}: {action:?}", observed.room);
    }
    for step in &plan.images {
        let imports = matches!(step, ImageStep::Import { .. });
        assert!(!imports || known && pressure == Pressure::None, "{step:?}");
    }
}
