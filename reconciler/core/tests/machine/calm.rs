//! When faults have ended, all is well: as the files say, and nothing else.

use std::collections::BTreeSet;

use banger_core::adoption::adoption;
use banger_core::api::{Kind, Name, Quantity};
use banger_core::intent::VmIntent;
use banger_core::inventory;
use banger_core::observed::{Instance, Observed};
use banger_core::plan::{Why, wants_to_run};
use banger_core::seam::VmRef;
use banger_core::trash;
use banger_testkit::Section;

use crate::file::File;
use crate::world::World;

const ROOMY: Quantity = Quantity::from_mib(1 << 30);

impl World {
    /// Faults end; then everything must be as the files say.
    pub(crate) fn calm(&mut self) {
        self.host.fail_observations(false);
        for section in Section::ALL {
            self.host.fail_section(section, false);
        }
        self.host.fill_disk(false);
        self.host.set_free(ROOMY);
        self.images_garbled = false;
        assert!(self.host.decoys_untouched());
        self.host.usurpers_leave();
        self.settle();
        // Faults that lay ahead strike while it settles; twice is enough, as
        // each strikes once.
        self.settle();
        self.confirm_missing();
        self.collect();
        self.settle();
        let observed = self.host.do_observe();
        let leaks = self.host.leaks(&self.intents);
        assert!(leaks.is_empty(), "{leaks:#?}");
        assert_eq!(self.host.cut_off(), [], "they have no network");
        assert!(self.host.decoys_untouched());
        for (name, file) in &self.files {
            let name: Name = name.parse().unwrap();
            let key = (Kind::VirtualMachine, name.clone());
            let vm = self.intents.vm(&name);
            match file {
                File::Absent => {
                    let held = self.vanished.held.contains_key(&key);
                    let goes = vm.filter(|vm| !held && !self.has_new_name(vm));
                    assert!(
                        goes.is_none(),
                        "{name} should have gone: {:?} of {:?}, {:?}",
                        goes.map(|vm| (vm.uid, &vm.renaming, &vm.deletion)),
                        self.files,
                        self.admission.rejected,
                    );
                }
                File::Good { vcpus, .. } => {
                    let vm = vm.unwrap_or_else(|| {
                        let names = self.intents.vms.values();
                        let names: Vec<_> = names
                            .map(|vm| (vm.name(), vm.uid, &vm.renaming, &vm.deletion))
                            .collect();
                        let rejected = &self.admission.rejected;
                        panic!(
                            "{name} should be there, not {names:?} of {:?}, {rejected:?}",
                            self.files
                        )
                    });
                    let rejected = self.admission.rejected.get(&key);
                    assert!(rejected.is_none(), "{rejected:?}");
                    assert_eq!(vm.spec.vcpus, *vcpus, "{name}");
                }
                File::Refused | File::Garbage => {}
            }
        }
        for vm in self.intents.vms.values() {
            let here = observed.vm(vm.uid);
            let running = here
                .vmm
                .present()
                .is_some_and(|vmm| vmm.instance == Instance::Running);
            let should = wants_to_run(vm);
            assert_eq!(running, should, "{}: {vm:#?} {here:?}", vm.name());
        }
        let adoption = adoption(&self.intents, &observed).unwrap();
        assert!(adoption.left.is_empty(), "{adoption:?}");
        self.check_records(&observed);
        self.model.check_renamed(&self.files, &self.intents);
        self.model.check_disks(&self.intents, &self.host);
        assert_eq!(self.settle(), 0, "a settled host has nothing left to do");
        if self.random.one_in(2) {
            self.empty_trash();
        }
    }

    /// A daemon without its database would know each VM that has disks: by its
    /// name and its address, and whether somebody stopped it or it is done.
    fn check_records(&self, observed: &Observed) {
        for vm in self.intents.vms.values() {
            let (here, name) = (observed.vm(vm.uid), vm.name());
            if here.cow_file.is_absent() && here.work_file.is_absent() {
                continue;
            }
            let record = here.record.as_ref();
            let told = record.unwrap_or_else(|| panic!("nothing is written of {name}"));
            let told = &told.vm;
            assert_eq!(told.name(), name);
            assert_eq!(told.allocation, vm.allocation, "{name}");
            let power = (told.power, told.completed);
            assert_eq!(power, (vm.power, vm.completed), "{name}");
        }
    }

    /// Whether a VM's document is there under its new name, and isn't accepted.
    fn has_new_name(&self, vm: &VmIntent) -> bool {
        vm.renaming.as_ref().is_some_and(|to| {
            let file = &self.files[to.as_str()];
            let broken = matches!(file, File::Refused | File::Garbage);
            broken && self.intents.vm(to).is_none()
        })
    }

    /// A replacement was cut short, and the word for it lost with the database:
    /// somebody gives it again. No other disk may be missing.
    fn confirm_missing(&mut self) {
        for waiting in self.pass().waiting {
            let Why::DiskMissing { changes } = waiting.why else {
                continue;
            };
            for change in changes {
                let role = change.disk.unwrap();
                let lost = self.model.counts_on(waiting.uid, role);
                assert!(!lost, "{} has lost its {role:?} disk", waiting.name);
                let vm = self.intents.vms.get_mut(&waiting.uid).unwrap();
                vm.confirmations.extend(change.confirmation());
            }
        }
        self.settle();
    }

    /// `banger gc`, of every orphan by name.
    fn collect(&mut self) {
        for _ in 0..40 {
            let orphans = self.orphaned();
            let holdings = self.host.do_holdings();
            let busy = BTreeSet::new();
            let found = inventory::collect(&self.intents, &busy, &holdings, &orphans);
            if found.orphans.is_empty() {
                assert!(orphans.is_empty(), "{orphans:?}: {:?}", found.left);
                return;
            }
            for (uid, steps) in &found.orphans {
                self.count("gc");
                // They are in the trash then, and nothing says whose they were.
                self.model.gives_up_all(*uid);
                let vm = VmRef::Orphan(*uid);
                // The first failure ends it; the next collection goes on.
                let mut done = steps.iter().map(|step| self.host.do_vm_step(&vm, step));
                let _ = done.all(|done| done.is_ok());
            }
            if self.host.faults().has_crashed() {
                self.crash();
            }
            self.orphans = None;
        }
        panic!("it is never collected: {:?}", self.orphaned());
    }

    /// `banger trash empty`, of all that lies there.
    fn empty_trash(&mut self) {
        for entry in self.host.do_trash().unwrap().iter() {
            if trash::is_awaited(entry, &self.intents) {
                continue;
            }
            self.host.do_empty_trash(&entry.id);
            if !self.intents.vms.contains_key(&entry.uid) {
                self.model.gives_up_all(entry.uid);
            }
        }
    }
}
