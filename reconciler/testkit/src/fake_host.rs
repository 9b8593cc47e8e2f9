//! A host in memory behind the seam: what may befall it, and what tests ask of it.
//!
//! Guarantees: it keeps the kernel's own rules (see [`crate::fake_vm`]); each
//! call can fail, hang, or be the daemon's last ([`Faults`]); each section of
//! an observation can be unknown on its own; what others keep on the host
//! ([`crate::foreign`]) takes numbers and names away, as it does in earnest.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use banger_core::api::Quantity;
use banger_core::intent::{ImageDigest, Intents};
use banger_core::observed::{Guest, ObservedVm};
use banger_core::plan::wants_to_run;
use banger_protocol::inventory::{Ipv6, TapPool};
use banger_protocol::{DiskRole, NetworkPolicy, Obstacle, VmUid};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::crowd::Crowd;
use crate::extras::Extras;
use crate::fake_vm::FakeVm;
use crate::faults::{Fault, Faults};
use crate::foreign::Place;
use crate::section::Section;

mod call;
mod look;
mod seam;
mod state;

pub use call::host_step_name;
pub(crate) use look::backing;
use state::State;

/// A host in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    faults: Faults,
    /// VMs that a step is being done for.
    acted_on: Crowd,
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
}
