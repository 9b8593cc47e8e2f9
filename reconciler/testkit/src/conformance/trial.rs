//! A case at work: steps that must or must not succeed, and what is seen then.

use banger_core::intent::VmIntent;
use banger_core::observed::{ObservedVm, Presence};
use banger_core::plan::{HostStep, Step};
use banger_core::seam::{Host, StepError, VmRef};
use banger_core::trash::Trashed;
use banger_protocol::DiskRole;

use super::{Bench, Part};

pub(super) struct Trial<'a, H> {
    pub(super) host: &'a H,
    pub(super) bench: &'a Bench,
    pub(super) part: Part,
}

impl<H: Host> Trial<'_, H> {
    pub(super) fn made(&self) -> Vec<Step> {
        self.part.made(self.bench)
    }

    pub(super) async fn make(&self, vm: &VmIntent) -> Result<(), String> {
        for step in self.made() {
            self.must(vm, &step).await?;
        }
        Ok(())
    }

    pub(super) async fn clean(&self, vm: &VmIntent) -> Result<(), String> {
        for step in self.part.removals() {
            self.must(vm, &step).await?;
        }
        if !self.part.has_disks() {
            return Ok(());
        }
        self.must(vm, &Step::DropDisks { purge: true }).await?;
        for entry in self.trash(vm).await? {
            let emptied = self.host.empty_trash(&entry.id).await;
            emptied.map_err(|error| refused("emptying the trash", &error))?;
        }
        Ok(())
    }

    /// What of the VM lies in the trash, oldest first.
    pub(super) async fn trash(&self, vm: &VmIntent) -> Result<Vec<Trashed>, String> {
        let entries = self.host.trash(false).await;
        let entries = entries.map_err(|error| refused("reading the trash", &error))?;
        let own = entries.iter().filter(|entry| entry.uid == vm.uid);
        Ok(own.cloned().collect())
    }

    pub(super) async fn step(&self, vm: &VmIntent, step: &Step) -> Result<(), StepError> {
        let vm = VmRef::Intended(Box::new(vm.clone()));
        self.host.vm_step(&vm, step).await
    }

    pub(super) async fn must(&self, vm: &VmIntent, step: &Step) -> Result<(), String> {
        let done = self.step(vm, step).await;
        done.map_err(|error| refused(&step.describe(), &error))
    }

    pub(super) async fn must_host(&self, step: &HostStep) -> Result<(), String> {
        let done = self.host.host_step(step).await;
        done.map_err(|error| refused(&format!("{step:?}"), &error))
    }

    pub(super) async fn must_not(&self, vm: &VmIntent, step: &Step) -> Result<(), String> {
        match self.step(vm, step).await {
            Ok(()) => Err(format!("{} should be refused", step.describe())),
            Err(_) => Ok(()),
        }
    }

    pub(super) async fn see(&self, vm: &VmIntent) -> ObservedVm {
        let observed = self.host.observe(&self.bench.vms).await;
        without_reasons(observed.vm(vm.uid).clone())
    }
}

/// That something can't be seen may be told by another probe each time.
fn without_reasons(mut here: ObservedVm) -> ObservedVm {
    fn forget<T>(presence: &mut Presence<T>) {
        if let Presence::Unknown(why) = presence {
            why.clear();
        }
    }
    forget(&mut here.vmm);
    forget(&mut here.jail);
    forget(&mut here.tap);
    forget(&mut here.base_loop);
    forget(&mut here.cow_loop);
    forget(&mut here.work_loop);
    forget(&mut here.origin);
    forget(&mut here.root);
    forget(&mut here.cow_file);
    forget(&mut here.work_file);
    here
}

pub(super) fn shows(here: &ObservedVm, step: &Step) -> bool {
    match step {
        Step::MakeRootDisk { .. } => here.cow_file.present().is_some(),
        Step::MakeWorkDisk { .. } => here.work_file.present().is_some(),
        Step::AttachLoop { role, .. } => match role {
            DiskRole::Base => here.base_loop.present().is_some(),
            DiskRole::Cow => here.cow_loop.present().is_some(),
            DiskRole::Work => here.work_loop.present().is_some(),
        },
        Step::EnsureRoot { size } => here.root.present().is_some_and(|root| root.size == *size),
        Step::EnsureTap => here.tap.present().is_some(),
        Step::StartVmm { .. } => here.vmm.present().is_some() && here.jail.present().is_some(),
        _ => false,
    }
}

fn refused(what: &str, error: &StepError) -> String {
    format!("{what} failed: {error}")
}

pub(super) fn equal<T: PartialEq + std::fmt::Debug>(
    after: &dyn std::fmt::Debug,
    now: &T,
    expected: &T,
) -> Result<(), String> {
    if now == expected {
        return Ok(());
    }
    Err(format!("after {after:?}: {now:?}, not {expected:?}"))
}
