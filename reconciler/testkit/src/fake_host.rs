//! A host in memory behind the seam.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use banger_core::api::Quantity;
use banger_core::intent::{ImageDigest, ImageIntent, Imported, VmIntent};
use banger_core::inventory::{Holdings, Leftover};
use banger_core::observed::{Guest, Observed, ObservedVm, Presence};
use banger_core::plan::{HostStep, Step};
use banger_core::seam::{Host, StepError, VmRef};
use banger_core::trash::{Trashed, pinned};
use banger_protocol::inventory::{Probe, TapPool};
use banger_protocol::{DiskRole, Slot, VmUid};
use tokio::sync::Notify;

use crate::extras::Extras;
use crate::fake_vm::{FakeVm, Numbers};
use crate::faults::{Fault, Faults, When};

/// A host in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    boot: u32,
    vms: BTreeMap<VmUid, FakeVm>,
    bridge: bool,
    nat: Option<BTreeSet<Slot>>,
    pool: TapPool,
    pool_fails: bool,
    images: BTreeSet<ImageDigest>,
    memory: u64,
    numbers: Numbers,
    faults: Faults,
    extras: Extras,
}

impl Default for State {
    fn default() -> Self {
        Self {
            boot: 0,
            vms: BTreeMap::new(),
            bridge: false,
            nat: None,
            pool: TapPool::default(),
            pool_fails: false,
            images: BTreeSet::new(),
            memory: 1 << 50,
            numbers: Numbers::default(),
            faults: Faults::default(),
            extras: Extras::default(),
        }
    }
}

impl State {
    fn trash(&self) -> Vec<Trashed> {
        let entries = self.vms.values().flat_map(|vm| vm.trash.iter().cloned());
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|a, b| (a.trashed, &a.id).cmp(&(b.trashed, &b.id)));
        entries
    }
}

fn size(pool: TapPool) -> u32 {
    pool.size.map_or(0, |size| size.get().into())
}

impl FakeHost {
    /// An empty host with plenty of memory.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the memory that VMs may take.
    pub fn set_available_memory(&self, bytes: u64) {
        self.state().memory = bytes;
    }

    /// Plans a fault.
    pub fn add_fault(&self, fault: Fault) {
        self.state().faults.add(fault);
    }

    /// Makes every probe fail, or work again.
    pub fn fail_observations(&self, fail: bool) {
        self.state().faults.fail_observations(fail);
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
        let in_use = state.vms.values().filter(|vm| vm.tap).count();
        TapPool {
            in_use: u32::try_from(in_use).unwrap_or(u32::MAX),
            ..state.pool
        }
    }

    /// How many steps there have been.
    pub fn calls(&self) -> u64 {
        self.state().faults.calls()
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
            Some(vm) if vm.process.is_some() => {
                vm.guest = last;
                vm.end(result, status);
                true
            }
            _ => false,
        }
    }

    /// Reboots the host: everything in the kernel goes, files stay.
    pub fn reboot(&self) {
        let mut state = self.state();
        state.boot += 1;
        state.bridge = false;
        state.nat = None;
        state.pool = TapPool::default();
        state.vms.values_mut().for_each(FakeVm::reboot);
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

    /// Whether an image is imported.
    pub fn holds_image(&self, digest: &ImageDigest) -> bool {
        self.state().images.contains(digest)
    }

    /// Does a step now; what [`Host::vm_step`] does.
    pub fn do_vm_step(&self, vm: &VmRef, step: &Step) -> Result<(), StepError> {
        let mut state = self.state();
        let fault = state.faults.next();
        let fail =
            |when: &str| StepError::transient(format!("injected: {} ({when})", step.describe()));
        if fault == Some(When::Before) {
            return Err(fail("before"));
        }
        let State {
            vms, numbers, pool, ..
        } = &mut *state;
        numbers.ticks += 1;
        let vm_here = vms.entry(vm.uid()).or_default();
        let had_tap = vm_here.tap;
        vm_here.step(vm, step, numbers)?;
        match (had_tap, vm_here.tap) {
            (false, true) => pool.warm = pool.warm.saturating_sub(1),
            (true, false) if pool.warm < size(*pool) => pool.warm += 1,
            _ => {}
        }
        match fault {
            Some(When::After) => Err(fail("after")),
            _ => Ok(()),
        }
    }

    /// Does a step of the host now.
    pub fn do_host_step(&self, step: &HostStep) -> Result<(), StepError> {
        let mut state = self.state();
        let fault = state.faults.next();
        if fault == Some(When::Before) {
            return Err(StepError::transient("injected (before)"));
        }
        match step {
            HostStep::EnsureBridge => state.bridge = true,
            HostStep::EnsureNat { guests } => state.nat = Some(guests.clone()),
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
                pool.warm = wanted;
            }
        }
        match fault {
            Some(When::After) => Err(StepError::transient("injected (after)")),
            _ => Ok(()),
        }
    }

    /// Imports now.
    pub fn do_import(&self, image: &ImageIntent) -> Result<Imported, StepError> {
        let mut state = self.state();
        let fault = state.faults.next();
        if fault == Some(When::Before) {
            return Err(StepError::transient("injected: import (before)"));
        }
        let mut hasher = DefaultHasher::new();
        format!("{:?}", image.spec).hash(&mut hasher);
        let digest = ImageDigest(format!("{:016x}", hasher.finish()).repeat(4));
        state.images.insert(digest.clone());
        if fault == Some(When::After) {
            return Err(StepError::transient("injected: import (after)"));
        }
        let rootfs = Quantity::from_mib(512);
        Ok(Imported {
            generation: image.generation,
            digest,
            rootfs,
        })
    }

    /// Everything that is there now.
    pub fn do_observe(&self) -> Observed {
        let pool = self.pool();
        let state = self.state();
        let boot_id = format!("00000000-0000-4000-8000-{:012}", state.boot);
        if state.faults.observations_fail() {
            let why = "injected: the probe failed";
            return Observed {
                boot_id,
                vms: BTreeMap::new(),
                elsewhere: ObservedVm::unknown(why),
                bridge: Presence::Unknown(why.into()),
                nat: Presence::Unknown(why.into()),
                pool: Presence::Unknown(why.into()),
                images: Presence::Unknown(why.into()),
                trash: Presence::Unknown(why.into()),
            };
        }
        let presence = |there: bool| {
            if there {
                Presence::Present(())
            } else {
                Presence::Absent
            }
        };
        Observed {
            boot_id,
            vms: state
                .vms
                .iter()
                .map(|(uid, vm)| (*uid, vm.observed()))
                .collect(),
            elsewhere: ObservedVm::absent(),
            bridge: presence(state.bridge),
            nat: state
                .nat
                .clone()
                .map_or(Presence::Absent, Presence::Present),
            pool: Presence::Present(pool),
            images: Presence::Present(state.images.clone()),
            trash: Presence::Present(pinned(&state.trash())),
        }
    }
}

impl FakeHost {
    /// Everything that is there now, object by object.
    pub fn do_holdings(&self) -> Holdings {
        let boot_id = self.do_observe().boot_id;
        let state = self.state();
        if state.faults.observations_fail() {
            let why = || "injected: the probe failed".to_owned();
            return Holdings {
                inventory: Err(why()),
                directories: Err(why()),
                staging: Err(why()),
                look_alikes: Err(why()),
            };
        }
        let mut holdings = state.extras.holdings(boot_id);
        if let Ok(inventory) = &mut holdings.inventory {
            inventory.bridge = Probe::Known(state.bridge);
            inventory.nat = Probe::Known(state.nat.clone());
        }
        for (uid, vm) in &state.vms {
            vm.list(*uid, &mut holdings);
        }
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
        self.do_holdings()
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<(), StepError> {
        self.state().extras.remove(leftover);
        Ok(())
    }

    async fn observe(&self, _vms: &[VmIntent]) -> Observed {
        self.do_observe()
    }

    async fn host_step(&self, step: &HostStep) -> Result<(), StepError> {
        self.do_host_step(step)
    }

    async fn vm_step(&self, vm: &VmRef, step: &Step) -> Result<(), StepError> {
        self.do_vm_step(vm, step)
    }

    async fn import(
        &self,
        image: &ImageIntent,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Imported, StepError> {
        progress(1, 2);
        let imported = self.do_import(image)?;
        progress(2, 2);
        Ok(imported)
    }

    async fn remove_image(&self, digest: &ImageDigest) -> Result<(), StepError> {
        self.state().images.remove(digest);
        Ok(())
    }

    async fn trash(&self) -> Result<Arc<Vec<Trashed>>, StepError> {
        let state = self.state();
        if state.faults.observations_fail() {
            return Err(StepError::transient("injected: the probe failed"));
        }
        Ok(Arc::new(state.trash()))
    }

    async fn empty_trash(&self, id: &str) -> Result<(), StepError> {
        let mut state = self.state();
        state.vms.values_mut().any(|vm| vm.empty(id));
        Ok(())
    }

    fn available_memory(&self) -> u64 {
        self.state().memory
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}
