//! Inventory and files, put together by VM. Pure.

use std::collections::{BTreeMap, BTreeSet};

use banger_core::intent::{ImageDigest, VmIntent};
use banger_core::observed::{DiskFile, Guest, Instance, Observed, ObservedVm, Presence, Root, Vmm};
use banger_protocol::inventory::{DmPart, Executable, Ipv6, Loop, Probe};
use banger_protocol::{DiskRole, Inventory, LoopNumber, NetworkPolicy, Obstacle, Slot, VmUid};

use super::files::{OwnFile, StateFiles};

/// What was read of the host, by VM. Guests' words, published ports and what
/// a VMM's API says aren't in it: they come from `instances` and from the
/// daemon's memory.
pub fn assemble(
    boot_id: String,
    inventory: &Result<Inventory, String>,
    files: &StateFiles,
    instances: &BTreeMap<VmUid, Instance>,
    intents: &[VmIntent],
) -> Observed {
    let elsewhere = elsewhere(inventory, files);
    let mut vms = BTreeMap::new();
    if let Ok(inventory) = inventory {
        Sections {
            inventory,
            elsewhere: &elsewhere,
            instances,
        }
        .fill(&mut vms);
        believe_loops(inventory, files, intents, &elsewhere, &mut vms);
    }
    for (uid, files) in files.vms.iter().flatten() {
        if files.cow.is_absent() && files.work.is_absent() && !vms.contains_key(uid) {
            continue;
        }
        let vm = vms.entry(*uid).or_insert_with(|| elsewhere.clone());
        vm.cow_file = disk_file(&files.cow);
        vm.work_file = disk_file(&files.work);
        vm.record.clone_from(&files.record);
        if files.leaving {
            vm.guest = Guest::Leaving;
        }
    }
    let pool = match inventory {
        Ok(inventory) => match &inventory.pool {
            Some(Probe::Known(pool)) => Presence::Present(*pool),
            Some(Probe::Unknown(why)) => Presence::Unknown(why.clone()),
            None => Presence::Unknown(
                "banger's helper is older than the tap pool: `sudo banger system install`".into(),
            ),
        },
        Err(why) => Presence::Unknown(why.clone()),
    };
    let (bridge, nat) = match inventory {
        Ok(inventory) => (
            match &inventory.bridge {
                Probe::Known(true) => Presence::Present(()),
                Probe::Known(false) => Presence::Absent,
                Probe::Unknown(why) => Presence::Unknown(why.clone()),
            },
            policy(inventory),
        ),
        Err(why) => (
            Presence::Unknown(why.clone()),
            Presence::Unknown(why.clone()),
        ),
    };
    Observed {
        boot_id,
        vms,
        elsewhere,
        bridge,
        ipv6: ipv6(inventory),
        nat,
        obstacles: obstacles(inventory),
        pool,
        images: match &files.images {
            Ok(images) => Presence::Present(images.keys().cloned().collect()),
            Err(why) => Presence::Unknown(why.clone()),
        },
        trash: Presence::Unknown("the trash is read apart".into()),
        room: Presence::Unknown("the room is read apart".into()),
    }
}

/// What guests may reach. An older helper tells of NAT alone, and knows no more.
fn policy(inventory: &Inventory) -> Presence<NetworkPolicy> {
    match (&inventory.policy, &inventory.nat) {
        (Some(Probe::Known(Some(policy))), _) => Presence::Present(policy.clone()),
        (None, Probe::Known(Some(guests))) => Presence::Present(NetworkPolicy {
            guests: guests.clone(),
            ..NetworkPolicy::default()
        }),
        (Some(Probe::Known(None)), _) | (None, Probe::Known(None)) => Presence::Absent,
        (Some(Probe::Unknown(why)), _) | (None, Probe::Unknown(why)) => {
            Presence::Unknown(why.clone())
        }
    }
}

/// How far IPv6 goes. An older helper doesn't tell, and knows nothing of it.
fn ipv6(inventory: &Result<Inventory, String>) -> Presence<Ipv6> {
    match inventory.as_ref().map(|it| &it.ipv6) {
        Ok(Some(Probe::Known(far))) => Presence::Present(*far),
        Ok(None) => Presence::Absent,
        Ok(Some(Probe::Unknown(why))) | Err(why) => Presence::Unknown(why.clone()),
    }
}

fn obstacles(inventory: &Result<Inventory, String>) -> Presence<Vec<Obstacle>> {
    match inventory.as_ref().map(|it| &it.obstacles) {
        Ok(Some(Probe::Known(obstacles))) => Presence::Present(obstacles.clone()),
        Ok(None) => Presence::Absent,
        Ok(Some(Probe::Unknown(why))) | Err(why) => Presence::Unknown(why.clone()),
    }
}

/// A VM that is named nowhere: absent as far as the sections could be read.
fn elsewhere(inventory: &Result<Inventory, String>, files: &StateFiles) -> ObservedVm {
    let mut vm = match inventory {
        Ok(_) => ObservedVm::absent(),
        Err(why) => ObservedVm::unknown(why),
    };
    if let Ok(inventory) = inventory {
        if let Probe::Unknown(why) = &inventory.vmms {
            vm.vmm = Presence::Unknown(why.clone());
            vm.jail = Presence::Unknown(why.clone());
        }
        if let Probe::Unknown(why) = &inventory.taps {
            vm.tap = Presence::Unknown(why.clone());
        }
        if let Probe::Unknown(why) = &inventory.loops {
            vm.base_loop = Presence::Unknown(why.clone());
            vm.cow_loop = Presence::Unknown(why.clone());
            vm.work_loop = Presence::Unknown(why.clone());
        }
        if let Probe::Unknown(why) = &inventory.dms {
            vm.origin = Presence::Unknown(why.clone());
            vm.root = Presence::Unknown(why.clone());
        }
    }
    vm.cow_file = Presence::Absent;
    vm.work_file = Presence::Absent;
    if let Err(why) = &files.vms {
        vm.cow_file = Presence::Unknown(why.clone());
        vm.work_file = Presence::Unknown(why.clone());
    }
    vm
}

struct Sections<'a> {
    inventory: &'a Inventory,
    elsewhere: &'a ObservedVm,
    instances: &'a BTreeMap<VmUid, Instance>,
}

impl Sections<'_> {
    /// Everything but loop devices.
    fn fill(&self, vms: &mut BTreeMap<VmUid, ObservedVm>) {
        let mut of = |uid: VmUid, set: &mut dyn FnMut(&mut ObservedVm)| {
            set(vms.entry(uid).or_insert_with(|| self.elsewhere.clone()));
        };
        for found in known(&self.inventory.vmms) {
            of(found.uid, &mut |vm| {
                if let Some(process) = found.process {
                    let instance = self.instances.get(&found.uid).cloned();
                    let instance = instance
                        .unwrap_or_else(|| Instance::Unknown("it was not asked".to_owned()));
                    vm.vmm = Presence::Present(Vmm {
                        process,
                        instance,
                        executable: executable(found.executable.as_ref()),
                    });
                }
                vm.exit = found.exit.clone();
                vm.jail = Presence::Present(());
            });
        }
        for tap in known(&self.inventory.taps) {
            if let Some(uid) = tap.uid {
                of(uid, &mut |vm| {
                    vm.tap = Presence::Present(tap.ifindex);
                    vm.slot = Slot::of_tap(&tap.name);
                });
            }
        }
        for dm in known(&self.inventory.dms) {
            of(dm.uid, &mut |vm| match dm.part {
                DmPart::Origin => vm.origin = Presence::Present(()),
                DmPart::Root => {
                    vm.root = Presence::Present(Root {
                        node: dm.node.clone(),
                        size: dm.size,
                        overflow: dm.overflow,
                    });
                }
            });
        }
    }
}

fn executable(probe: Option<&Probe<Executable>>) -> Presence<Executable> {
    match probe {
        Some(Probe::Known(whose)) => Presence::Present(*whose),
        Some(Probe::Unknown(why)) => Presence::Unknown(why.clone()),
        None => Presence::Absent,
    }
}

fn known<T>(probe: &Probe<Vec<T>>) -> &[T] {
    match probe {
        Probe::Known(all) => all,
        Probe::Unknown(_) => &[],
    }
}

/// Loop devices. For a VM that is to stay, a loop is believed only if it lies
/// over the VM's own file: to build on another would mix two disks. For a VM
/// that only goes, its tag (which only root can set) is proof enough.
fn believe_loops(
    inventory: &Inventory,
    files: &StateFiles,
    intents: &[VmIntent],
    elsewhere: &ObservedVm,
    vms: &mut BTreeMap<VmUid, ObservedVm>,
) {
    for found in known(&inventory.loops) {
        let staying = intents
            .iter()
            .find(|vm| vm.uid == found.uid && vm.deletion.is_none());
        let presence = match staying {
            Some(vm) => believe(found, files, vm),
            None => Presence::Present(found.device),
        };
        let vm = vms.entry(found.uid).or_insert_with(|| elsewhere.clone());
        let place = match found.role {
            DiskRole::Base => &mut vm.base_loop,
            DiskRole::Cow => &mut vm.cow_loop,
            DiskRole::Work => &mut vm.work_loop,
        };
        *place = match place.present() {
            None => presence,
            Some(other) => Presence::Unknown(format!(
                "{} and {} both carry the tag of its {} disk: detach one with `losetup -d`",
                other.path(),
                found.device.path(),
                found.role.as_str()
            )),
        };
    }
}

fn believe(found: &Loop, files: &StateFiles, vm: &VmIntent) -> Presence<LoopNumber> {
    let own: Vec<Presence<OwnFile>> = match found.role {
        DiskRole::Base => pinned(vm, files)
            .into_iter()
            .map(|digest| match &files.images {
                Ok(images) => images.get(digest).cloned().unwrap_or(Presence::Absent),
                Err(why) => Presence::Unknown(why.clone()),
            })
            .collect(),
        role => vec![match &files.vms {
            Ok(vms) => match vms.get(&vm.uid) {
                Some(files) if role == DiskRole::Cow => files.cow.clone(),
                Some(files) => files.work.clone(),
                None => Presence::Absent,
            },
            Err(why) => Presence::Unknown(why.clone()),
        }],
    };
    let is_own =
        |file: &OwnFile| file.device == found.backing_device && file.inode == found.backing_inode;
    if own.iter().filter_map(Presence::present).any(is_own) {
        return Presence::Present(found.device);
    }
    let why = own.iter().find_map(Presence::unknown).map_or_else(
        || {
            format!(
                "{} carries the tag of its {} disk but lies over another file \
                 (device {}, inode {}): detach it with `losetup -d {0}`",
                found.device.path(),
                found.role.as_str(),
                found.backing_device,
                found.backing_inode
            )
        },
        str::to_owned,
    );
    Presence::Unknown(why)
}

/// The images that the VM's base may lie over: an old database may name another
/// than the record beside the disks.
fn pinned<'a>(vm: &'a VmIntent, files: &'a StateFiles) -> BTreeSet<&'a ImageDigest> {
    let record = files.vms.as_ref().ok().and_then(|vms| vms.get(&vm.uid));
    let record = record.and_then(|files| files.record.as_ref());
    let started = record.and_then(|record| record.vm.applied.as_ref());
    let applied = vm.applied.iter().chain(started);
    let applied = applied.map(|applied| &applied.image);
    vm.image.iter().chain(applied).collect()
}

fn disk_file(found: &Presence<OwnFile>) -> Presence<DiskFile> {
    match found {
        Presence::Absent => Presence::Absent,
        Presence::Present(file) => Presence::Present(DiskFile {
            length: file.length,
        }),
        Presence::Unknown(why) => Presence::Unknown(why.clone()),
    }
}
