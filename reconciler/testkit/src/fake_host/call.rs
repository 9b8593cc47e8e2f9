//! Calls that change something, each of which a fault can meet.

use std::hash::{DefaultHasher, Hash, Hasher};

use banger_core::api::Quantity;
use banger_core::intent::{ImageDigest, ImageIntent, Imported};
use banger_core::plan::{HostStep, Step};
use banger_core::seam::{StepError, VmRef};
use banger_protocol::inventory::TapPool;

use super::FakeHost;
use super::look::boot_id;
use super::state::{State, no_space, resize};
use crate::faults::{Trouble, When};

fn most_kept(pool: TapPool) -> u32 {
    pool.size.map_or(0, |size| size.most_kept().into())
}

impl FakeHost {
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

    pub(super) fn vm_step_call(
        &self,
        vm: &VmRef,
        step: &Step,
    ) -> Result<Result<(), StepError>, Trouble> {
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

    pub(super) fn host_step_call(&self, step: &HostStep) -> Result<Result<(), StepError>, Trouble> {
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

    pub(super) fn import_call(
        &self,
        image: &ImageIntent,
    ) -> Result<Result<Imported, StepError>, Trouble> {
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

    pub(super) fn remove_image_call(
        &self,
        digest: &ImageDigest,
    ) -> Result<Result<(), StepError>, Trouble> {
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

    /// Removes an entry of the trash now.
    pub fn do_empty_trash(&self, id: &str) {
        self.state().vms.values_mut().any(|vm| vm.empty(id));
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

/// An answer for callers that can't wait: no answer is an error, too.
fn at_once<T>(answer: Result<Result<T, StepError>, Trouble>) -> Result<T, StepError> {
    match answer {
        Ok(done) => done,
        Err(Trouble::Error(message)) => Err(StepError::transient(message)),
        Err(Trouble::NoAnswer) => Err(StepError::transient("injected: no answer")),
    }
}
