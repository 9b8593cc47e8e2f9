//! VMHandles: what the kernel holds for each VM now.
//!
//! A cache in memory, rebuilt from every observation and kept up by the steps
//! in between, and a scratch file per VM (`handles.json`) that repeats it for
//! whoever looks at a host whose daemon is down. The kernel decides; both are
//! hints, and losing them costs nothing but the hint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use banger_core::api::status::VmHandles;
use banger_protocol::inventory::{DmPart, Probe, Process};
use banger_protocol::{DiskRole, Inventory, LoopNumber, VmUid};

use crate::act::files;
use crate::act::layout::Layout;

/// The handles of one VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handles {
    /// Boot id of the host that these handles are of.
    pub boot_id: String,
    /// The VMM.
    pub process: Option<Process>,
    /// The tap's name.
    pub tap: Option<String>,
    /// The loops by role.
    pub loops: BTreeMap<DiskRole, LoopNumber>,
    /// The root disk's node, `/dev/dm-N`.
    pub root: Option<String>,
}

impl Handles {
    fn holds_nothing(&self) -> bool {
        let Self {
            boot_id: _,
            process,
            tap,
            loops,
            root,
        } = self;
        process.is_none() && tap.is_none() && loops.is_empty() && root.is_none()
    }

    /// As people read them.
    pub fn status(&self, uid: VmUid) -> VmHandles {
        let device = |role| self.loops.get(&role).map(|device| device.path());
        VmHandles {
            pid: self.process.map(|process| process.pid),
            start_time: self.process.map(|process| process.start_time),
            boot_id: Some(self.boot_id.clone()),
            tap: self.tap.clone(),
            base_loop: device(DiskRole::Base),
            cow_loop: device(DiskRole::Cow),
            work_loop: device(DiskRole::Work),
            dm_name: self.root.as_ref().map(|_| uid.dm_root()),
            dm_device: self.root.clone(),
        }
    }
}

/// What an inventory shows of handles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// By VM, what the sections that could be read hold.
    pub vms: BTreeMap<VmUid, Handles>,
    /// Sections that could not be read say nothing: what was known of theirs stays.
    unread: Unread,
}

/// Which sections could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unread {
    vmms: bool,
    taps: bool,
    loops: bool,
    dms: bool,
}

impl Unread {
    fn any(self) -> bool {
        self.vmms || self.taps || self.loops || self.dms
    }

    /// What of these handles is of sections that could not be read.
    fn of(self, known: &Handles) -> Handles {
        Handles {
            boot_id: known.boot_id.clone(),
            process: known.process.filter(|_| self.vmms),
            tap: known.tap.clone().filter(|_| self.taps),
            loops: match self.loops {
                true => known.loops.clone(),
                false => BTreeMap::new(),
            },
            root: known.root.clone().filter(|_| self.dms),
        }
    }
}

impl Seen {
    /// With what was known of the sections that could not be read.
    fn beside(self, before: &BTreeMap<VmUid, Handles>, boot_id: &str) -> BTreeMap<VmUid, Handles> {
        let Self { mut vms, unread } = self;
        for (uid, known) in before.iter().filter(|(_, it)| it.boot_id == boot_id) {
            let kept = unread.of(known);
            if !vms.contains_key(uid) && kept.holds_nothing() {
                continue;
            }
            let now = vms.entry(*uid).or_insert_with(|| Handles {
                boot_id: boot_id.to_owned(),
                ..Handles::default()
            });
            now.process = now.process.or(kept.process);
            now.tap = now.tap.take().or(kept.tap);
            now.loops.extend(kept.loops);
            now.root = now.root.take().or(kept.root);
        }
        vms
    }
}

/// The handles in an inventory.
pub fn of_inventory(inventory: &Inventory) -> Seen {
    let unread = Unread {
        vmms: matches!(inventory.vmms, Probe::Unknown(_)),
        taps: matches!(inventory.taps, Probe::Unknown(_)),
        loops: matches!(inventory.loops, Probe::Unknown(_)),
        dms: matches!(inventory.dms, Probe::Unknown(_)),
    };
    let vms = known(inventory);
    Seen { vms, unread }
}

fn known(inventory: &Inventory) -> BTreeMap<VmUid, Handles> {
    let mut all: BTreeMap<VmUid, Handles> = BTreeMap::new();
    let mut of = |uid: VmUid, set: &mut dyn FnMut(&mut Handles)| {
        let handles = all.entry(uid).or_insert_with(|| Handles {
            boot_id: inventory.boot_id.clone(),
            ..Handles::default()
        });
        set(handles);
    };
    if let Probe::Known(vmms) = &inventory.vmms {
        for vmm in vmms.iter().filter(|vmm| vmm.process.is_some()) {
            of(vmm.uid, &mut |handles| handles.process = vmm.process);
        }
    }
    if let Probe::Known(taps) = &inventory.taps {
        for tap in taps {
            if let Some(uid) = tap.uid {
                of(uid, &mut |handles| handles.tap = Some(tap.name.clone()));
            }
        }
    }
    if let Probe::Known(loops) = &inventory.loops {
        for found in loops {
            of(found.uid, &mut |handles| {
                handles.loops.insert(found.role, found.device);
            });
        }
    }
    if let Probe::Known(dms) = &inventory.dms {
        for dm in dms.iter().filter(|dm| dm.part == DmPart::Root) {
            of(dm.uid, &mut |handles| handles.root = Some(dm.node.clone()));
        }
    }
    all
}

/// A reading of the cache's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

#[derive(Default)]
struct Cache {
    clock: u64,
    vms: BTreeMap<VmUid, Handles>,
    /// When a step last changed a VM's handles.
    touched: BTreeMap<VmUid, u64>,
    /// VMs whose scratch file may say more than is known here.
    unwritten: BTreeSet<VmUid>,
}

/// The cache.
#[derive(Default)]
pub struct HandleCache {
    /// A leaf lock: never held across an await.
    cache: Mutex<Cache>,
}

impl HandleCache {
    /// To be taken before an observation is begun.
    pub fn mark(&self) -> Mark {
        Mark(self.lock().clock)
    }

    /// Takes over an observation of this boot that was begun at `mark`, except
    /// for VMs that a step has changed since: what it saw of them may be old.
    /// A scratch file that a former daemon left is neither replaced nor removed
    /// while a section can't be read.
    pub fn rebuild(&self, mark: Mark, boot_id: &str, seen: Seen, layout: &Layout) {
        let mut cache = self.lock();
        let touched = std::mem::take(&mut cache.touched);
        let is_old = |uid: &VmUid| touched.get(uid).is_some_and(|at| *at > mark.0);
        let kept = cache.vms.extract_if(.., |uid, _| is_old(uid)).collect();
        let before = std::mem::replace(&mut cache.vms, kept);
        let partial = seen.unread.any();
        for (uid, handles) in seen.beside(&before, boot_id) {
            if is_old(&uid) {
                continue;
            }
            let known = before.get(&uid);
            let is_kept = cache.unwritten.contains(&uid) || known.is_none();
            if partial && is_kept {
                cache.unwritten.insert(uid);
            } else if known != Some(&handles) || cache.unwritten.remove(&uid) {
                write(layout, uid, &handles);
            }
            cache.vms.insert(uid, handles);
        }
        for (uid, _) in before {
            let is_kept = partial && cache.unwritten.contains(&uid);
            if !cache.vms.contains_key(&uid) && !is_old(&uid) && !is_kept {
                cache.unwritten.remove(&uid);
                forget(layout, uid);
            }
        }
        cache.touched = touched.into_iter().filter(|(_, at)| *at > mark.0).collect();
    }

    /// What is held for the VM, as far as is known.
    pub fn get(&self, uid: VmUid) -> Handles {
        self.lock().vms.get(&uid).cloned().unwrap_or_default()
    }

    /// VMs with a VMM.
    pub fn running(&self) -> Vec<VmUid> {
        let cache = self.lock();
        let running = cache
            .vms
            .iter()
            .filter(|(_, handles)| handles.process.is_some());
        running.map(|(uid, _)| *uid).collect()
    }

    /// A step changed something.
    pub fn change(&self, layout: &Layout, uid: VmUid, change: impl FnOnce(&mut Handles)) {
        let mut cache = self.lock();
        cache.clock += 1;
        let now = cache.clock;
        cache.touched.insert(uid, now);
        let handles = cache.vms.entry(uid).or_default();
        change(handles);
        write(layout, uid, handles);
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A few hundred bytes, not synced: it is a hint. A VM whose directory is gone gets none.
fn write(layout: &Layout, uid: VmUid, handles: &Handles) {
    if let Ok(json) = serde_json::to_vec_pretty(&handles.status(uid))
        && let Err(error) = files::hint(&layout.handles(uid), &json)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(vm = %uid, %error, "handles.json could not be written");
    }
}

fn forget(layout: &Layout, uid: VmUid) {
    if let Err(error) = files::remove(&layout.handles(uid)) {
        tracing::debug!(vm = %uid, %error, "handles.json could not be removed");
    }
}
