//! The database is lost.

use banger_core::intent::Intents;
use banger_core::observed::ObservedVm;
use banger_core::vanish::Vanish;

use crate::file::File;
use crate::world::World;

impl World {
    /// The database is gone, and a daemon without it starts.
    pub(crate) fn lose_database(&mut self) {
        self.count("database lost");
        self.intents = Intents::default();
        self.boot_id.clear();
        self.wanted.clear();
        self.kept.clear();
        self.vanish = Vanish::default();
        self.guarded.clear();
        self.model.forgets_renames();
        self.crash();
    }

    /// The same while all is well: what ran runs on in the same process, what was
    /// off stays off, and each document has its VM again.
    pub(crate) fn lose_database_in_calm(&mut self) {
        self.calm();
        let before = std::mem::take(&mut self.intents);
        let held: Vec<_> = before
            .vms
            .values()
            .filter_map(|vm| Some((vm, self.host.holds(vm.uid)?)))
            .collect();
        self.lose_database();
        self.settle();
        for (vm, had) in held {
            let name = vm.name();
            let file = &self.files[name.as_str()];
            // It has disks, and is known by what stands beside them.
            if matches!(file, File::Good { .. }) {
                let now = self.intents.vm(name).map(|now| now.uid);
                assert_eq!(now, Some(vm.uid), "{name} is another one now");
            }
            let process = |here: &ObservedVm| here.vmm.present().map(|vmm| vmm.process);
            let now = self.host.holds(vm.uid);
            let now = now.as_ref().and_then(process);
            assert_eq!(now, process(&had), "{name} was ended, or started");
        }
    }
}
