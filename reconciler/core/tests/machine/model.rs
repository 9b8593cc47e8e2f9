//! The reference model: what a person may count on, whatever the daemon does.
//!
//! It knows the disks by their serial numbers, which the daemon never sees, and
//! the renames that were asked for.

use std::collections::BTreeMap;

use banger_core::api::Name;
use banger_core::intent::Intents;
use banger_core::trash::Trashed;
use banger_protocol::{DiskRole, VmUid};
use banger_testkit::FakeHost;

use crate::file::File;

/// Disks that hold something of somebody's.
const ROLES: [DiskRole; 2] = [DiskRole::Cow, DiskRole::Work];

#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Which disks each VM had when all was well last. One that may be put away
    /// by itself, or removed, isn't counted on any more.
    disks: BTreeMap<(VmUid, DiskRole), u32>,
    /// VMs whose document has a new name, by that name.
    renames: BTreeMap<String, VmUid>,
}

impl Model {
    /// A disk goes by itself, as somebody confirmed.
    pub(crate) fn gives_up(&mut self, uid: VmUid, role: DiskRole) {
        self.disks.remove(&(uid, role));
    }

    /// The VM's disks go for good, or nobody can tell any more whose they are.
    pub(crate) fn gives_up_all(&mut self, uid: VmUid) {
        for role in ROLES {
            self.gives_up(uid, role);
        }
    }

    /// Whether the VM must have this disk, wherever it is.
    pub(crate) fn counts_on(&self, uid: VmUid, role: DiskRole) -> bool {
        self.disks.contains_key(&(uid, role))
    }

    /// All is well: each VM that ran has the disks that it had.
    pub(crate) fn check_disks(&mut self, intents: &Intents, host: &FakeHost) {
        for vm in intents.vms.values().filter(|vm| vm.applied.is_some()) {
            for role in ROLES {
                let now = host.disk(vm.uid, role);
                match self.disks.get(&(vm.uid, role)) {
                    Some(had) => assert_eq!(now, Some(*had), "{}: {role:?}", vm.name()),
                    None => {
                        self.disks.extend(now.map(|now| ((vm.uid, role), now)));
                    }
                }
            }
        }
    }

    /// A document has a new name, after `banger rename` was told so.
    pub(crate) fn renames(&mut self, uid: VmUid, to: &str) {
        self.renames.insert(to.to_owned(), uid);
    }

    /// The daemon knows nothing of that any more.
    pub(crate) fn forgets_renames(&mut self) {
        self.renames.clear();
    }

    /// As long as the document is there under its new name, accepted or not,
    /// its VM stays.
    pub(crate) fn check_renames(
        &mut self,
        files: &BTreeMap<String, File>,
        before: &Intents,
        now: &Intents,
    ) {
        self.renames.retain(|to, uid| {
            let Some(old) = before.vms.get(&*uid).filter(|old| old.deletion.is_none()) else {
                return false;
            };
            let named = old.name().as_str() == to;
            let back = files[old.name().as_str()] != File::Absent;
            if named || back || files[to] == File::Absent {
                return false;
            }
            let vm = now.vms.get(&*uid).filter(|vm| vm.deletion.is_none());
            let vm = vm.unwrap_or_else(|| panic!("{to} was to be {}, and is lost", old.name()));
            vm.name().as_str() != to
        });
    }

    /// All is well: what is accepted is renamed.
    pub(crate) fn check_renamed(&self, files: &BTreeMap<String, File>, now: &Intents) {
        let mut renames = self.renames.iter();
        let left = renames.find(|(to, _)| matches!(files[*to], File::Good { .. }));
        let names = now.vms.values().map(|vm| (vm.uid, vm.name(), &vm.renaming));
        let names: Vec<_> = names.collect();
        assert_eq!(
            left, None,
            "it is accepted, and is no VM's: {names:?} {files:?}"
        );
    }
}

/// The how-manieth thing that the simulated host made it is: its id ends in that.
fn arrival(entry: &Trashed) -> u32 {
    let number = entry.id.rsplit('-').next().unwrap();
    number.parse().unwrap()
}

/// The VM that a new document of this name brings back from the trash: the one
/// that somebody wants back, else the newest if its document vanished.
pub(crate) fn brought_back(
    name: &Name,
    trash: &[Trashed],
    wanted: impl Fn(&Trashed) -> bool,
    before: &Intents,
) -> Option<VmUid> {
    let of_name = trash.iter().filter(|entry| {
        let whole = entry.whole().is_some_and(|vm| vm.name() == name);
        whole && !before.vms.contains_key(&entry.uid)
    });
    // Whatever the clock said: the last that got there is the newest.
    let mut of_name: Vec<_> = of_name.collect();
    of_name.sort_by_key(|entry| arrival(entry));
    let named = of_name.iter().rfind(|entry| wanted(entry));
    if let Some(entry) = named {
        return Some(entry.uid);
    }
    let newest = of_name.last()?;
    let deletion = newest.whole()?.deletion.as_ref()?;
    (!deletion.explicit).then_some(newest.uid)
}
