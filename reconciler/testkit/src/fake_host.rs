//! A host in memory behind the seam.
//!
//! Guarantees: it keeps the kernel's own rules (see [`crate::fake_vm`]); each
//! call can fail, hang, or be the daemon's last ([`Faults`]); each section of
//! an observation can be unknown on its own; what others keep on the host
//! ([`crate::foreign`]) takes numbers and names away, as it does in earnest.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use banger_core::api::Quantity;
use banger_core::intent::{ImageDigest, ImageIntent, Imported, Intents, VmIntent};
use banger_core::inventory::{Backing, Holdings, Leftover, StoredImage};
use banger_core::observed::{Guest, Observed, ObservedVm, Presence};
use banger_core::plan::{HostStep, Step, wants_to_run};
use banger_core::pressure::Room;
use banger_core::seam::{Host, StepError, VmRef};
use banger_core::trash::{Trashed, pinned, stamp};
use banger_protocol::inventory::{Ipv6, Probe, TapPool};
use banger_protocol::{DiskRole, NetworkPolicy, Obstacle, VmUid};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::crowd::Crowd;
use crate::extras::Extras;
use crate::fake_vm::{FakeVm, Numbers};
use crate::faults::{Fault, Faults, Trouble, When, heard};
use crate::foreign::{Foreign, Place};
use crate::section::Section;

/// A host in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    faults: Faults,
    /// VMs that a step is being done for.
    acted_on: Crowd,
}

#[derive(Debug)]
struct State {
    boot: u32,
    vms: BTreeMap<VmUid, FakeVm>,
    bridge: bool,
    ipv6: Ipv6,
    nat: Option<NetworkPolicy>,
    obstacles: Vec<Obstacle>,
    pool: TapPool,
    pool_fails: bool,
    images: BTreeSet<ImageDigest>,
    memory: Option<u64>,
    room: Room,
    numbers: Numbers,
    extras: Extras,
    foreign: Foreign,
    /// What `foreign` must be as long as nobody but others touched it.
    kept: Foreign,
    /// It wasn't once, when the others went.
    touched: bool,
    blind: BTreeSet<Section>,
    all_blind: bool,
    disk_full: bool,
    pace: Duration,
    trash_away: bool,
    /// What the wall clock says; `None`: what the real one does.
    wall_clock: Option<Timestamp>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            boot: 0,
            vms: BTreeMap::new(),
            bridge: false,
            ipv6: Ipv6::Host,
            nat: None,
            obstacles: Vec::new(),
            pool: TapPool::default(),
            pool_fails: false,
            images: BTreeSet::new(),
            memory: Some(1 << 50),
            room: Room {
                free: Quantity::from_bytes(1 << 50),
                ballast: Quantity::default(),
            },
            numbers: Numbers::default(),
            extras: Extras::default(),
            foreign: Foreign::default(),
            kept: Foreign::default(),
            touched: false,
            blind: BTreeSet::new(),
            all_blind: false,
            disk_full: false,
            pace: Duration::ZERO,
            trash_away: false,
            wall_clock: None,
        }
    }
}

impl State {
    /// Those of others that came into VMs' places go.
    fn usurpers_leave(&mut self) {
        self.touched |= self.foreign != self.kept;
        self.foreign.leave();
        self.kept.leave();
    }

    /// The bridge itself, with IPv6 or without.
    fn make_bridge(&mut self, ipv6: bool) {
        self.bridge = true;
        self.ipv6 = match ipv6 {
            true => Ipv6::Bridge,
            false => Ipv6::Host,
        };
    }

    /// The bridge is there, and every VM's tap on it.
    fn bridge_stands(&self) -> bool {
        self.bridge && !self.vms.values().any(FakeVm::is_cut_off)
    }

    /// A step may put something into the trash.
    fn stamp(&mut self, step: &Step) {
        if matches!(step, Step::TrashDisk { .. } | Step::DropDisks { .. }) {
            let now = self.wall_clock.unwrap_or_else(Timestamp::now);
            self.numbers.trashed = stamp(now, &self.trash());
        }
    }

    fn trash(&self) -> Vec<Trashed> {
        let entries = self.vms.values().flat_map(|vm| vm.trash.iter().cloned());
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|a, b| (a.trashed, &a.id).cmp(&(b.trashed, &b.id)));
        entries
    }
}

fn most_kept(pool: TapPool) -> u32 {
    pool.size.map_or(0, |size| size.most_kept().into())
}

impl FakeHost {
    /// An empty host with plenty of memory.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the memory that VMs may take; `None`: it can't be told.
    pub fn set_available_memory(&self, bytes: Option<u64>) {
        self.state().memory = bytes;
    }

    /// The faults to come, and the calls so far.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Plans a fault at a step.
    pub fn add_fault(&self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Makes every probe fail, or work again.
    pub fn fail_observations(&self, fail: bool) {
        self.state().all_blind = fail;
        self.changed.notify_one();
    }

    /// Makes every warm-up of the tap pool fail, or work again.
    pub fn fail_pool(&self, fail: bool) {
        self.state().pool_fails = fail;
        self.changed.notify_one();
    }

    /// The tap pool as it is now.
    pub fn pool(&self) -> TapPool {
        let state = self.state();
        let in_use = state.vms.values().filter(|vm| vm.tap.is_some()).count();
        TapPool {
            in_use: u32::try_from(in_use).unwrap_or(u32::MAX),
            ..state.pool
        }
    }

    /// Makes one section unknown, or known again.
    pub fn fail_section(&self, section: Section, fail: bool) {
        let mut state = self.state();
        if fail {
            state.blind.insert(section);
        } else {
            state.blind.remove(&section);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Sets what is left of the state directory's file system beside the
    /// ballast; what waits for room isn't woken by it.
    pub fn set_free(&self, free: Quantity) {
        self.state().room.free = free;
    }

    /// Room for the state directory, as it is now.
    pub fn do_room(&self) -> Presence<Room> {
        let state = self.state();
        if state.all_blind {
            return Presence::Unknown("injected: the probe failed".into());
        }
        match state.blind.contains(&Section::Room) {
            true => Presence::Unknown("injected: Room can't be read".into()),
            false => Presence::Present(state.room),
        }
    }

    /// Sets the wall clock, which stands still from then on.
    pub fn set_wall_clock(&self, now: Timestamp) {
        self.state().wall_clock = Some(now);
    }

    /// Whether a VM's guest stands still.
    pub fn is_paused(&self, uid: VmUid) -> bool {
        self.state().vms.get(&uid).is_some_and(|vm| vm.paused)
    }

    /// Puts rules of somebody else's in the way of guests' packets.
    pub fn obstruct(&self, obstacles: Vec<Obstacle>) {
        self.state().obstacles = obstacles;
        self.changed.notify_one();
    }

    /// Takes the tables away, as somebody does who flushes the ruleset.
    pub fn flush_ruleset(&self) {
        self.state().nat = None;
        self.changed.notify_one();
    }

    /// Takes the bridge away, as somebody does who restarts the host's network:
    /// taps stay, and are on no bridge.
    pub fn lose_bridge(&self) {
        let mut state = self.state();
        (state.bridge, state.ipv6) = (false, Ipv6::Host);
        state.pool.warm = 0;
        state.vms.values_mut().for_each(|vm| vm.attached = false);
        drop(state);
        self.changed.notify_one();
    }

    /// VMs whose tap is not on the bridge.
    pub fn cut_off(&self) -> Vec<VmUid> {
        let state = self.state();
        let cut_off = state.vms.iter().filter(|(_, vm)| vm.is_cut_off());
        cut_off.map(|(uid, _)| *uid).collect()
    }

    /// What guests may reach, where there are tables.
    pub fn policy(&self) -> Option<NetworkPolicy> {
        self.state().nat.clone()
    }

    /// Fills the state directory's file system, or frees it.
    pub fn fill_disk(&self, full: bool) {
        self.state().disk_full = full;
    }

    /// Has each step of a VM take so long, as on a real host; at first none takes
    /// any time.
    pub fn set_pace(&self, step: Duration) {
        self.state().pace = step;
    }

    /// The most VMs that steps were being done for at once, since this was asked last.
    pub fn take_most_at_once(&self) -> usize {
        self.acted_on.take_most()
    }

    /// How many steps there have been.
    pub fn calls(&self) -> u64 {
        self.faults.steps()
    }

    /// Somebody takes what a VM has there, and puts something of their own in its
    /// place; where the VM has none, they only do the latter. `false`: the kernel
    /// doesn't let them, or there is nothing to tell the place by.
    pub fn usurp(&self, uid: VmUid, place: Place) -> bool {
        let mut state = self.state();
        let taps: BTreeSet<_> = state
            .vms
            .iter()
            .filter(|(other, _)| **other != uid)
            .filter_map(|(_, vm)| vm.tap)
            .collect();
        let State {
            vms, foreign, kept, ..
        } = &mut *state;
        let Some(vm) = vms.get_mut(&uid) else {
            return false;
        };
        let done = match place {
            Place::Process => vm.lose_process().map(|pid| {
                foreign.run(pid);
                kept.run(pid);
            }),
            Place::Loop(role) => vm.lose_loop(role).map(|device| {
                foreign.attach(device.0);
                kept.attach(device.0);
            }),
            Place::Root => vm.lose_root().then(|| {
                foreign.make_dm(uid.dm_root());
                kept.make_dm(uid.dm_root());
            }),
            Place::Tap => {
                let slot = vm.last_slot().filter(|slot| !taps.contains(slot));
                slot.filter(|_| vm.lose_tap()).map(|slot| {
                    foreign.make_tap(slot.tap());
                    kept.make_tap(slot.tap());
                })
            }
        };
        drop(state);
        self.changed.notify_one();
        done.is_some()
    }

    /// Whoever put something in a VM's place takes it away again.
    pub fn usurpers_leave(&self) {
        self.state().usurpers_leave();
    }

    /// Which disk of all that there ever were lies in a VM's place for it.
    pub fn disk(&self, uid: VmUid, role: DiskRole) -> Option<u32> {
        self.state().vms.get(&uid)?.disk(role)
    }

    /// What there is of a VM, whether a probe can read it or not.
    pub fn holds(&self, uid: VmUid) -> Option<ObservedVm> {
        let state = self.state();
        let vm = state.vms.get(&uid).filter(|vm| !vm.is_gone())?;
        Some(vm.observed(state.ipv6))
    }

    /// The VMs that there is anything of.
    pub fn held(&self) -> Vec<VmUid> {
        let state = self.state();
        let held = state.vms.iter().filter(|(_, vm)| !vm.is_gone());
        held.map(|(uid, _)| *uid).collect()
    }

    /// Whether everything that others keep on the host is as they left it.
    pub fn decoys_untouched(&self) -> bool {
        let state = self.state();
        !state.touched && state.foreign == state.kept
    }

    /// What the host holds although these intents don't call for it, in words.
    pub fn leaks(&self, intents: &Intents) -> Vec<String> {
        let state = self.state();
        let mut leaks = Vec::new();
        for (uid, vm) in &state.vms {
            match intents.vms.get(uid) {
                None if !vm.is_gone() => leaks.push(format!("{uid} is unknown: {vm:?}")),
                Some(intent) if !wants_to_run(intent) && !vm.is_off() => {
                    leaks.push(format!("{} is off: {vm:?}", intent.name()));
                }
                _ => {}
            }
        }
        let needed: BTreeSet<&ImageDigest> = intents
            .images
            .values()
            .filter_map(|image| image.imported.as_ref())
            .map(|imported| &imported.digest)
            .chain(intents.vms.values().filter_map(|vm| vm.image.as_ref()))
            .collect();
        for digest in &state.images {
            if !needed.contains(digest) {
                leaks.push(format!("image {} is nobody's", digest.0));
            }
        }
        let staging = state.extras.staging.iter();
        leaks.extend(staging.map(|name| format!("{name} was never finished")));
        leaks
    }

    /// What is written beside VMs' disks is lost.
    pub fn lose_records(&self) {
        self.state().vms.values_mut().for_each(FakeVm::lose_record);
    }

    /// Kills a VM's VMM; answers whether one ran.
    pub fn kill_vmm(&self, uid: VmUid) -> bool {
        let killed = self.end(uid, Guest::Silent, "signal", 9);
        self.changed.notify_one();
        killed
    }

    /// The guest announces its end and ends well.
    pub fn guest_leaves(&self, uid: VmUid) -> bool {
        let left = self.end(uid, Guest::Leaving, "success", 0);
        self.changed.notify_one();
        left
    }

    fn end(&self, uid: VmUid, last: Guest, result: &str, status: i32) -> bool {
        let mut state = self.state();
        match state.vms.get_mut(&uid) {
            // A guest that stands still can't do anything of its own accord.
            Some(vm) if last == Guest::Leaving && vm.paused => false,
            Some(vm) if vm.process.is_some() => {
                vm.guest = last;
                vm.end(result, status);
                true
            }
            _ => false,
        }
    }

    /// Reboots the host: everything in the kernel goes, files stay. The numbers
    /// that VMs had are others' from then on.
    pub fn reboot(&self) {
        let mut state = self.state();
        state.boot += 1;
        state.bridge = false;
        state.ipv6 = Ipv6::Host;
        state.nat = None;
        state.pool = TapPool::default();
        state.usurpers_leave();
        let State { vms, foreign, .. } = &mut *state;
        for vm in vms.values_mut() {
            vm.reboot();
            vm.give_numbers_to(foreign);
        }
        state.kept = state.foreign.clone();
    }

    /// Puts things on the host that are nobody's VM: decoys, leftovers.
    pub fn with_extras(&self, change: impl FnOnce(&mut Extras)) {
        change(&mut self.state().extras);
    }

    /// Whether nothing of any VM is left.
    pub fn is_empty(&self) -> bool {
        self.state().vms.values().all(FakeVm::is_gone)
    }

    /// Disks of a VM that went to the trash, in order.
    pub fn trashed(&self, uid: VmUid) -> Vec<DiskRole> {
        self.state()
            .vms
            .get(&uid)
            .map(|vm| vm.trashed.clone())
            .unwrap_or_default()
    }

    /// Somebody removes the file of a VM's disk, which no loop device lies over.
    pub fn lose_disk(&self, uid: VmUid, role: DiskRole) {
        if let Some(vm) = self.state().vms.get_mut(&uid) {
            vm.lose(role);
        }
        self.changed.notify_one();
    }

    /// VMs with a root disk, in its place or in the trash, whose image is gone
    /// from under it.
    pub fn bereft(&self) -> Vec<VmUid> {
        let state = self.state();
        let gone = |vm: &FakeVm| vm.lies_over().any(|image| !state.images.contains(image));
        let vms = state.vms.iter().filter(|(_, vm)| gone(vm));
        vms.map(|(uid, _)| *uid).collect()
    }

    /// Makes the descriptions of all that lies in the trash unreadable.
    pub fn spoil_trash(&self) {
        let mut state = self.state();
        for entry in state.vms.values_mut().flat_map(|vm| &mut vm.trash) {
            (entry.disk, entry.vm) = (None, None);
            entry.unread = Some("injected: trash.json is empty".into());
        }
    }

    /// Takes the directory of the trash away, as where its file system isn't
    /// mounted, or puts it back.
    pub fn lose_trash(&self, away: bool) {
        self.state().trash_away = away;
        self.changed.notify_one();
    }

    /// Puts an image into the store, as an import does.
    pub fn put_image(&self, digest: ImageDigest) {
        self.state().images.insert(digest);
    }

    /// Whether an image is imported.
    pub fn holds_image(&self, digest: &ImageDigest) -> bool {
        self.state().images.contains(digest)
    }

    fn call<T>(
        &self,
        name: &str,
        work: impl FnOnce(&mut State) -> Result<T, StepError>,
        half: impl FnOnce(&mut State),
    ) -> Result<Result<T, StepError>, Trouble> {
        let when = self.faults.enter(name, true)?;
        if when == Some(When::Half) {
            half(&mut self.state());
            let left = self.faults.leave(name, when);
            return left.and(Err(Trouble::NoAnswer));
        }
        let done = work(&mut self.state());
        self.faults.leave(name, when)?;
        Ok(done)
    }

    fn vm_step_call(&self, vm: &VmRef, step: &Step) -> Result<Result<(), StepError>, Trouble> {
        let work = |state: &mut State| -> Result<(), StepError> {
            state.stamp(step);
            let writes = matches!(step, Step::MakeRootDisk { .. } | Step::MakeWorkDisk { .. });
            if writes && state.disk_full {
                return Err(no_space(&step.describe()));
            }
            if let Step::AttachLoop {
                image: Some(image), ..
            } = step
                && !state.images.contains(image)
            {
                return Err(StepError::transient("ENOENT: the image isn't there"));
            }
            let State {
                vms,
                numbers,
                foreign,
                pool,
                boot,
                ..
            } = state;
            numbers.ticks += 1;
            if let (Step::EnsureTap, VmRef::Intended(vm)) = (step, vm) {
                let slot = vm.allocation.slot;
                let mut taps = vms.iter().filter(|(_, other)| other.tap == Some(slot));
                if let Some((owner, _)) = taps.find(|(uid, _)| **uid != vm.uid) {
                    let (name, uid) = (slot.tap(), vm.uid);
                    return Err(StepError::lasting(
                        format!("{name} is not the tap of {uid}: its alias is `{owner}`"),
                        "nothing is done to it",
                    ));
                }
            }
            let here = vms.entry(vm.uid()).or_default();
            let had_tap = here.tap.is_some();
            here.step(vm, step, numbers, foreign, &boot_id(*boot))?;
            match (had_tap, here.tap.is_some()) {
                (false, true) => pool.warm = pool.warm.saturating_sub(1),
                (true, false) if pool.warm < most_kept(*pool) => pool.warm += 1,
                _ => {}
            }
            Ok(())
        };
        let half = |state: &mut State| {
            state.stamp(step);
            let State {
                vms,
                numbers,
                foreign,
                boot,
                ..
            } = state;
            let here = vms.entry(vm.uid()).or_default();
            here.half(vm, step, numbers, foreign, &boot_id(*boot));
        };
        self.call(&step.describe(), work, half)
    }

    fn host_step_call(&self, step: &HostStep) -> Result<Result<(), StepError>, Trouble> {
        self.call(
            host_step_name(step),
            |state| {
                match step {
                    HostStep::EnsureBridge { ipv6 } => {
                        state.make_bridge(*ipv6);
                        state.vms.values_mut().for_each(|vm| vm.attached = true);
                    }
                    HostStep::EnsureNat { policy } => state.nat = Some(policy.clone()),
                    HostStep::EnsurePool { size, .. } => {
                        if state.pool_fails {
                            state.pool.failed += 1;
                            return Err(StepError::transient("injected: out of taps"));
                        }
                        if !state.bridge && size.get() > 0 {
                            return Err(StepError::transient("ENODEV: no bridge"));
                        }
                        let pool = &mut state.pool;
                        let wanted = u32::from(size.get());
                        pool.created += u64::from(wanted.saturating_sub(pool.warm));
                        pool.size = Some(*size);
                        pool.warm = pool.warm.clamp(wanted, size.most_kept().into());
                    }
                    HostStep::EnsureBallast { size } => resize(&mut state.room, *size)?,
                    HostStep::ReleaseBallast => resize(&mut state.room, Quantity::default())?,
                }
                Ok(())
            },
            |state| match step {
                // The bridge itself, and the taps not yet on it.
                HostStep::EnsureBridge { ipv6 } => state.make_bridge(*ipv6),
                _ => nothing(state),
            },
        )
    }

    fn import_call(&self, image: &ImageIntent) -> Result<Result<Imported, StepError>, Trouble> {
        self.call(
            "importing an image",
            |state| {
                if state.disk_full {
                    return Err(no_space("importing an image"));
                }
                let mut hasher = DefaultHasher::new();
                format!("{:?}", image.spec).hash(&mut hasher);
                let digest = ImageDigest(format!("{:016x}", hasher.finish()).repeat(4));
                state.images.insert(digest.clone());
                Ok(Imported {
                    generation: image.generation,
                    digest,
                    rootfs: Quantity::from_mib(512),
                })
            },
            nothing,
        )
    }

    fn remove_image_call(&self, digest: &ImageDigest) -> Result<Result<(), StepError>, Trouble> {
        self.call(
            "removing an image",
            |state| {
                // As rm(1) does: whoever lies over it isn't asked.
                state.images.remove(digest);
                Ok(())
            },
            nothing,
        )
    }

    /// Does a step now; what [`Host::vm_step`] does.
    pub fn do_vm_step(&self, vm: &VmRef, step: &Step) -> Result<(), StepError> {
        at_once(self.vm_step_call(vm, step))
    }

    /// Does a step of the host now.
    pub fn do_host_step(&self, step: &HostStep) -> Result<(), StepError> {
        at_once(self.host_step_call(step))
    }

    /// Imports now.
    pub fn do_import(&self, image: &ImageIntent) -> Result<Imported, StepError> {
        at_once(self.import_call(image))
    }

    /// Removes an image now.
    pub fn do_remove_image(&self, digest: &ImageDigest) -> Result<(), StepError> {
        at_once(self.remove_image_call(digest))
    }

    /// What lies in the trash now.
    pub fn do_trash(&self) -> Result<Arc<Vec<Trashed>>, StepError> {
        let state = self.state();
        match state.all_blind {
            true => Err(StepError::transient("injected: the probe failed")),
            false => Ok(Arc::new(state.trash())),
        }
    }

    /// Removes an entry of the trash now.
    pub fn do_empty_trash(&self, id: &str) {
        self.state().vms.values_mut().any(|vm| vm.empty(id));
    }

    /// Everything that is there now.
    pub fn do_observe(&self) -> Observed {
        let pool = self.pool();
        let state = self.state();
        let boot_id = boot_id(state.boot);
        if state.all_blind {
            return nothing_known(boot_id, "injected: the probe failed");
        }
        let presence = |there: bool| {
            if there {
                Presence::Present(())
            } else {
                Presence::Absent
            }
        };
        let observed = Observed {
            boot_id,
            vms: state
                .vms
                .iter()
                .map(|(uid, vm)| (*uid, vm.observed(state.ipv6)))
                .collect(),
            elsewhere: ObservedVm::absent(),
            bridge: presence(state.bridge_stands()),
            ipv6: Presence::Present(state.ipv6),
            nat: state
                .nat
                .clone()
                .map_or(Presence::Absent, Presence::Present),
            obstacles: Presence::Present(state.obstacles.clone()),
            pool: Presence::Present(pool),
            images: Presence::Present(state.images.clone()),
            trash: Presence::Present(pinned(&state.trash())),
            room: Presence::Present(state.room),
        };
        Section::blind(&state.blind, observed)
    }
}

/// What is left of a call that is one system call, where that is cut short.
const fn nothing(_: &mut State) {}

/// What a call of a step of the host is named in [`crate::Site`]s.
pub const fn host_step_name(step: &HostStep) -> &'static str {
    match step {
        HostStep::EnsureBridge { .. } => "making the bridge",
        HostStep::EnsureNat { .. } => "making the NAT table",
        HostStep::EnsurePool { .. } => "filling the tap pool",
        HostStep::EnsureBallast { .. } => "allocating the ballast",
        HostStep::ReleaseBallast => "releasing the ballast",
    }
}

fn boot_id(boot: u32) -> String {
    format!("00000000-0000-4000-8000-{boot:012}")
}

fn nothing_known(boot_id: String, why: &str) -> Observed {
    Observed {
        boot_id,
        vms: BTreeMap::new(),
        elsewhere: ObservedVm::unknown(why),
        bridge: Presence::Unknown(why.into()),
        ipv6: Presence::Unknown(why.into()),
        nat: Presence::Unknown(why.into()),
        obstacles: Presence::Unknown(why.into()),
        pool: Presence::Unknown(why.into()),
        images: Presence::Unknown(why.into()),
        trash: Presence::Unknown(why.into()),
        room: Presence::Unknown(why.into()),
    }
}

fn nothing_held(why: &str) -> Holdings {
    let why = || why.to_owned();
    Holdings {
        inventory: Err(why()),
        directories: Err(why()),
        staging: Err(why()),
        look_alikes: Err(why()),
        images: Err(why()),
        trash: Err(why()),
    }
}

fn stored(digest: &ImageDigest) -> (ImageDigest, StoredImage) {
    let image = StoredImage {
        path: format!("/state/images/{}", digest.0),
        rootfs: Presence::Present(backing(digest)),
    };
    (digest.clone(), image)
}

/// What a loop device over an image's root file system knows it by.
pub(crate) fn backing(digest: &ImageDigest) -> Backing {
    let mut hasher = DefaultHasher::new();
    digest.hash(&mut hasher);
    Backing {
        device: 2,
        inode: hasher.finish(),
    }
}

/// The ballast takes its room from what is free, and gives it back.
fn resize(room: &mut Room, ballast: Quantity) -> Result<(), StepError> {
    let all = room.free.bytes().saturating_add(room.ballast.bytes());
    let free = all
        .checked_sub(ballast.bytes())
        .ok_or_else(|| no_space("allocating the ballast"))?;
    *room = Room {
        free: Quantity::from_bytes(free),
        ballast,
    };
    Ok(())
}

fn no_space(what: &str) -> StepError {
    StepError::transient(format!("{what}: ENOSPC: no space left on device"))
}

/// An answer for callers that can't wait: no answer is an error, too.
fn at_once<T>(answer: Result<Result<T, StepError>, Trouble>) -> Result<T, StepError> {
    match answer {
        Ok(done) => done,
        Err(Trouble::Error(message)) => Err(StepError::transient(message)),
        Err(Trouble::NoAnswer) => Err(StepError::transient("injected: no answer")),
    }
}

async fn in_time<T>(answer: Result<Result<T, StepError>, Trouble>) -> Result<T, StepError> {
    match heard(answer).await {
        Ok(done) => done,
        Err(message) => Err(StepError::transient(message)),
    }
}

impl FakeHost {
    /// Everything that is there now, object by object.
    pub fn do_holdings(&self) -> Holdings {
        let boot_id = self.do_observe().boot_id;
        let pool = self.pool();
        let state = self.state();
        if state.all_blind {
            return nothing_held("injected: the probe failed");
        }
        let mut holdings = state.extras.holdings(boot_id);
        if let Ok(inventory) = &mut holdings.inventory {
            inventory.bridge = Probe::Known(state.bridge_stands());
            let guests = state.nat.as_ref().map(|policy| policy.guests.clone());
            inventory.nat = Probe::Known(guests);
            inventory.pool = Some(Probe::Known(pool));
        }
        for (uid, vm) in &state.vms {
            vm.list(*uid, &mut holdings);
        }
        holdings.images = match state.blind.contains(&Section::Images) {
            true => Err("injected: Images can't be read".into()),
            false => Ok(state.images.iter().map(stored).collect()),
        };
        holdings.trash = Ok(Arc::new(state.trash()));
        for (uid, scratch) in &state.extras.scratch {
            if let Ok(directories) = &mut holdings.directories
                && let Some(directory) = directories.get_mut(uid)
            {
                directory.scratch = scratch.clone();
            }
        }
        holdings
    }
}

impl Host for FakeHost {
    async fn holdings(&self) -> Holdings {
        let entered = self.faults.enter("listing", false);
        let seen = self.do_holdings();
        let left = entered.and_then(|when| self.faults.leave("listing", when));
        match heard(left).await {
            Ok(()) => seen,
            Err(why) => nothing_held(&why),
        }
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<(), StepError> {
        let name = "removing a leftover";
        let removed = self.faults.enter(name, false).and_then(|when| {
            self.state().extras.remove(leftover);
            self.faults.leave(name, when)
        });
        heard(removed).await.map_err(StepError::transient)
    }

    async fn observe(&self, _vms: &[VmIntent]) -> Observed {
        let entered = self.faults.enter("observing", false);
        let seen = self.do_observe();
        let left = entered.and_then(|when| self.faults.leave("observing", when));
        match heard(left).await {
            Ok(()) => seen,
            Err(why) => nothing_known(seen.boot_id, &why),
        }
    }

    async fn host_step(&self, step: &HostStep) -> Result<(), StepError> {
        in_time(self.host_step_call(step)).await
    }

    async fn vm_step(&self, vm: &VmRef, step: &Step) -> Result<(), StepError> {
        let _inside = self.acted_on.enter();
        let pace = self.state().pace;
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        in_time(self.vm_step_call(vm, step)).await
    }

    async fn import(
        &self,
        image: &ImageIntent,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Imported, StepError> {
        progress(1, 2);
        let imported = in_time(self.import_call(image)).await?;
        progress(2, 2);
        Ok(imported)
    }

    async fn remove_image(&self, digest: &ImageDigest) -> Result<(), StepError> {
        in_time(self.remove_image_call(digest)).await
    }

    async fn trash(&self, known: bool) -> Result<Arc<Vec<Trashed>>, StepError> {
        let name = "reading the trash";
        let seen = self.faults.enter(name, false).and_then(|when| {
            let away = self.state().trash_away;
            let seen = match (away, known) {
                (true, true) => Err(StepError::transient("ENOENT: the trash isn't there")),
                (true, false) => Ok(Arc::default()),
                (false, _) => self.do_trash(),
            };
            self.faults.leave(name, when).map(|()| seen)
        });
        heard(seen).await.map_err(StepError::transient)?
    }

    async fn empty_trash(&self, id: &str) -> Result<(), StepError> {
        let name = "emptying the trash";
        let emptied = self.faults.enter(name, false).and_then(|when| {
            self.do_empty_trash(id);
            self.faults.leave(name, when)
        });
        heard(emptied).await.map_err(StepError::transient)
    }

    async fn room(&self) -> Presence<Room> {
        let name = "looking at the room";
        let seen = self.faults.enter(name, false).and_then(|when| {
            let seen = self.do_room();
            self.faults.leave(name, when).map(|()| seen)
        });
        heard(seen).await.unwrap_or_else(Presence::Unknown)
    }

    fn available_memory(&self) -> Option<u64> {
        self.state().memory
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}
