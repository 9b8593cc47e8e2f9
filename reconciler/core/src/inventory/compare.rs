//! Intents against holdings.

use std::collections::{BTreeMap, BTreeSet};

use banger_protocol::inventory::{DmPart, Probe, Process};
use banger_protocol::{DiskRole, Inventory, VmUid};

use super::holdings::{Holdings, Scratch, VmDirectory, known};
use super::images::unneeded;
use super::report::{InventoryReport, Item, Object, State};
use crate::api::status::VmHandles;
use crate::intent::{Intents, VmIntent};
use crate::plan::wants_to_run;

/// The list. VMs that something is being done for are `busy`: nothing is
/// missing of them, because what is on its way isn't there yet.
pub fn compare(intents: &Intents, busy: &BTreeSet<VmUid>, holdings: &Holdings) -> InventoryReport {
    let mut list = List {
        intents,
        busy,
        running: running(holdings),
        items: Vec::new(),
    };
    if let Ok(inventory) = &holdings.inventory {
        list.kernel(inventory);
        list.missing(inventory);
    }
    for (uid, directory) in holdings.directories.iter().flatten() {
        list.directory(*uid, directory, holdings.inventory.as_ref().ok());
    }
    for name in holdings.staging.iter().flatten() {
        list.items.push(Item {
            state: State::Unowned,
            object: Object::Staging,
            name: name.clone(),
            uid: None,
            vm: None,
            why: "no import works on it any more".into(),
            remedy: Some("banger gc".into()),
        });
    }
    for foreign in holdings.look_alikes.iter().flatten() {
        list.foreign(foreign.object, &foreign.name, &foreign.why);
    }
    // Where it can't be told which are unneeded, none is said to be.
    for (_, image) in unneeded(intents, busy, holdings).unwrap_or_default() {
        list.items.push(Item {
            state: State::Unneeded,
            object: Object::Image,
            name: image.path.clone(),
            uid: None,
            vm: None,
            why: "no document, no VM and nothing in the trash needs it".into(),
            remedy: Some("banger gc".into()),
        });
    }
    let mut items = list.items;
    items.sort_by(|a, b| {
        (a.state, &a.vm, a.uid, a.object, &a.name).cmp(&(b.state, &b.vm, b.uid, b.object, &b.name))
    });
    InventoryReport {
        items,
        unknown: holdings
            .unknown()
            .into_iter()
            .map(|(section, why)| format!("{section}: {why}"))
            .collect(),
        adoption: None,
        pool: section(holdings, |inventory| inventory.pool.as_ref()).map(|pool| (*pool).into()),
        legacy_tables: section(holdings, |inventory| inventory.legacy_tables.as_ref()).cloned(),
    }
}

/// A section that not every helper has, where it could be read.
fn section<T>(holdings: &Holdings, of: impl Fn(&Inventory) -> Option<&Probe<T>>) -> Option<&T> {
    match of(holdings.inventory.as_ref().ok()?)? {
        Probe::Known(known) => Some(known),
        Probe::Unknown(_) => None,
    }
}

/// VMMs that run.
pub(super) fn running(holdings: &Holdings) -> BTreeMap<VmUid, Process> {
    let vmms = holdings.inventory.iter().flat_map(|it| known(&it.vmms));
    vmms.filter_map(|vmm| Some((vmm.uid, vmm.process?)))
        .collect()
}

struct List<'a> {
    intents: &'a Intents,
    busy: &'a BTreeSet<VmUid>,
    running: BTreeMap<VmUid, Process>,
    items: Vec<Item>,
}

impl List<'_> {
    /// An object that carries a VM's tag.
    fn of_vm(&mut self, object: Object, name: String, uid: VmUid) {
        let intent = self.intents.vms.get(&uid);
        let (state, why, remedy) = if self.busy.contains(&uid) {
            (
                State::Changing,
                "something is being done for its VM".into(),
                None,
            )
        } else if intent.is_some() {
            (State::Owned, String::new(), None)
        } else if self.running.contains_key(&uid) {
            (
                State::Unowned,
                format!("no intent knows VM {uid}, which runs"),
                Some(format!("banger gc --orphan {uid}")),
            )
        } else {
            let why = format!("no intent knows VM {uid}");
            (State::Unowned, why, Some("banger gc".into()))
        };
        self.items.push(Item {
            state,
            object,
            name,
            uid: Some(uid),
            vm: intent.map(|vm| vm.name().clone()),
            why,
            remedy,
        });
    }

    fn foreign(&mut self, object: Object, name: &str, why: &str) {
        self.items.push(Item {
            state: State::Foreign,
            object,
            name: name.to_owned(),
            uid: None,
            vm: None,
            why: format!("left alone: {why}"),
            remedy: None,
        });
    }

    fn kernel(&mut self, inventory: &Inventory) {
        for vmm in known(&inventory.vmms) {
            match vmm.process {
                Some(process) => {
                    let name = format!("{} (pid {})", vmm.uid.unit(), process.pid);
                    self.of_vm(Object::Vmm, name, vmm.uid);
                }
                None => self.of_vm(Object::Jail, vmm.uid.unit(), vmm.uid),
            }
        }
        for tap in known(&inventory.taps) {
            match tap.uid {
                Some(uid) => self.of_vm(Object::Tap, tap.name.clone(), uid),
                None => self.foreign(Object::Tap, &tap.name, "its alias names no VM"),
            }
        }
        for found in known(&inventory.loops) {
            let name = format!("{} ({})", found.device.path(), found.role.as_str());
            self.of_vm(Object::Loop, name, found.uid);
        }
        for dm in known(&inventory.dms) {
            self.of_vm(Object::Dm, dm.name.clone(), dm.uid);
        }
    }

    fn missing(&mut self, inventory: &Inventory) {
        let intents = self.intents;
        for vm in intents.vms.values() {
            if self.busy.contains(&vm.uid) || !wants_to_run(vm) {
                continue;
            }
            for (object, name) in lacks(vm, inventory, self.running.contains_key(&vm.uid)) {
                let (why, remedy) = if object == Object::Vmm {
                    (
                        "it should run; the daemon starts it again unless something is in the way",
                        format!("banger describe vm/{}", vm.name()),
                    )
                } else {
                    (
                        "its VM runs without it",
                        format!("banger vm restart {}", vm.name()),
                    )
                };
                self.items.push(Item {
                    state: State::Missing,
                    object,
                    name,
                    uid: Some(vm.uid),
                    vm: Some(vm.name().clone()),
                    why: why.into(),
                    remedy: Some(remedy),
                });
            }
        }
        if !intents.vms.values().any(wants_to_run) {
            return;
        }
        let mut host = |object, name: &str, there: bool| {
            if !there {
                self.items.push(Item {
                    state: State::Missing,
                    object,
                    name: name.into(),
                    uid: None,
                    vm: None,
                    why: "VMs are to run; the daemon makes it with its next pass".into(),
                    remedy: Some("sudo banger system restart".into()),
                });
            }
        };
        host(
            Object::Bridge,
            "the bridge",
            inventory.bridge != Probe::Known(false),
        );
        host(
            Object::Nat,
            "table banger",
            inventory.nat != Probe::Known(None),
        );
    }

    fn directory(&mut self, uid: VmUid, directory: &VmDirectory, kernel: Option<&Inventory>) {
        self.of_vm(Object::Directory, directory.path.clone(), uid);
        let orphan = !self.intents.vms.contains_key(&uid);
        if orphan || self.busy.contains(&uid) {
            return;
        }
        if let Some(why) = stale(uid, &directory.scratch, kernel) {
            self.items.push(Item {
                state: State::Stale,
                object: Object::Scratch,
                name: format!("{}/handles.json", directory.path),
                uid: Some(uid),
                vm: self.intents.vms.get(&uid).map(|vm| vm.name().clone()),
                why,
                remedy: Some("banger gc".into()),
            });
        }
    }
}

/// What a VM that should run doesn't have.
fn lacks(vm: &VmIntent, inventory: &Inventory, runs: bool) -> Vec<(Object, String)> {
    let started = vm.started.as_ref();
    let this_boot = started.is_some_and(|start| start.boot_id == inventory.boot_id);
    let (Some(applied), true) = (&vm.applied, this_boot) else {
        // It was never started in this boot: what it waits for is in its status.
        return Vec::new();
    };
    if !runs {
        let known = matches!(inventory.vmms, Probe::Known(_));
        let vmm = (Object::Vmm, vm.uid.unit());
        return known.then_some(vmm).into_iter().collect();
    }
    let mut lacks = Vec::new();
    if let Probe::Known(taps) = &inventory.taps
        && !taps.iter().any(|tap| tap.uid == Some(vm.uid))
    {
        lacks.push((Object::Tap, vm.allocation.slot.tap()));
    }
    if let Probe::Known(dms) = &inventory.dms {
        for (part, name) in [
            (DmPart::Origin, vm.uid.dm_origin()),
            (DmPart::Root, vm.uid.dm_root()),
        ] {
            if !dms.iter().any(|dm| dm.uid == vm.uid && dm.part == part) {
                lacks.push((Object::Dm, name));
            }
        }
    }
    if let Probe::Known(loops) = &inventory.loops {
        let work = applied.spec.work_disk.map(|_| DiskRole::Work);
        for role in [DiskRole::Base, DiskRole::Cow].into_iter().chain(work) {
            if !loops.iter().any(|it| it.uid == vm.uid && it.role == role) {
                lacks.push((Object::Loop, format!("the {} disk's", role.as_str())));
            }
        }
    }
    lacks
}

/// What a scratch file says that isn't so; what the kernel holds besides is no fault of it.
pub(super) fn stale(uid: VmUid, scratch: &Scratch, kernel: Option<&Inventory>) -> Option<String> {
    let said = match scratch {
        Scratch::Missing => return None,
        Scratch::Unreadable(why) => return Some(format!("it can't be read: {why}")),
        Scratch::Known(said) => said,
    };
    let kernel = kernel?;
    if said
        .boot_id
        .as_ref()
        .is_some_and(|id| *id != kernel.boot_id)
    {
        return Some("it is from another boot of the host".into());
    }
    wrong(uid, said, kernel).map(|what| format!("it names {what}, which isn't this VM's"))
}

fn wrong(uid: VmUid, said: &VmHandles, kernel: &Inventory) -> Option<String> {
    if let (Some(pid), Probe::Known(vmms)) = (said.pid, &kernel.vmms) {
        let process = vmms
            .iter()
            .find(|vmm| vmm.uid == uid)
            .and_then(|v| v.process);
        let same = process.is_some_and(|process| {
            process.pid == pid && said.start_time.is_none_or(|at| at == process.start_time)
        });
        if !same {
            return Some(format!("pid {pid}"));
        }
    }
    if let (Some(tap), Probe::Known(taps)) = (&said.tap, &kernel.taps)
        && !taps
            .iter()
            .any(|found| found.name == *tap && found.uid == Some(uid))
    {
        return Some(tap.clone());
    }
    if let Probe::Known(loops) = &kernel.loops {
        for (role, path) in [
            (DiskRole::Base, &said.base_loop),
            (DiskRole::Cow, &said.cow_loop),
            (DiskRole::Work, &said.work_loop),
        ] {
            if let Some(path) = path
                && !loops.iter().any(|found| {
                    (found.uid, found.role) == (uid, role) && found.device.path() == *path
                })
            {
                return Some(path.clone());
            }
        }
    }
    if let (Some(node), Probe::Known(dms)) = (&said.dm_device, &kernel.dms)
        && !dms
            .iter()
            .any(|found| found.uid == uid && found.node == *node)
    {
        return Some(node.clone());
    }
    None
}
