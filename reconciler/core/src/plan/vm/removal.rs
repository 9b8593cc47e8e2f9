//! A VM that is to run no more: what is taken away, and in which order.

use banger_protocol::DiskRole;

use super::Case;
use crate::effect::Effect;
use crate::intent::PowerOverride;
use crate::observed::{Guest, Instance, Presence};
use crate::plan::action::{Verb, VmPlan};
use crate::plan::{Ending, Step};

impl Case<'_> {
    /// Deletion: first everything that the kernel holds; once that has been
    /// seen to be gone, the disks and the row.
    pub(super) fn teardown(&self) -> VmPlan {
        let reason = match &self.vm.deletion {
            Some(deletion) if deletion.explicit => "it was deleted",
            _ => "its document is gone",
        };
        let purge = self
            .vm
            .deletion
            .as_ref()
            .is_some_and(|deletion| deletion.purge);
        let mut steps = self.removals();
        if steps.is_empty() {
            // What it was about to get back goes with it.
            steps.extend(self.vm.restoring.then_some(Step::RestoreDisks));
            steps.extend([Step::DropDisks { purge }, Step::Forget]);
        }
        let effect = if purge {
            Effect::LosesData
        } else {
            Effect::ReplaceRoot
        };
        self.action(Verb::Teardown, reason, effect, steps)
    }

    /// Not wanted running: off, with everything but its disks.
    pub(super) fn stop(&self) -> Option<VmPlan> {
        let mut steps = self.removals();
        if steps.is_empty() {
            return None;
        }
        let reason = match self.vm.power {
            PowerOverride::Stopped => "it was stopped with `banger vm stop`",
            _ if self.vm.completed => "its run policy is OnFailure and it ended well",
            _ => "its run policy is Halted",
        };
        if self.here.vmm.is_absent() {
            steps.insert(0, self.record_exit());
        }
        // Last, so that a disk without room for it keeps nothing from going off.
        steps.extend(self.record_is_old().then_some(Step::KeepRecord));
        Some(self.action(Verb::Stop, reason, Effect::Restart, steps))
    }

    /// Steps that take away everything but disks, from the guest downwards.
    pub(super) fn removals(&self) -> Vec<Step> {
        let here = self.here;
        let mut steps = Vec::new();
        if !here.ports.is_empty() && here.vmm.is_absent() {
            // Listeners go with the VMM's removal below where there is one.
            steps.push(Step::RemoveVmm);
        }
        if let Presence::Present(vmm) = &here.vmm {
            if vmm.instance != Instance::NotStarted {
                // Recorded first: should the daemon die half way, the exit
                // that follows isn't taken for a crash.
                steps.push(Step::RecordExit {
                    ending: Ending::Asked,
                });
                let paused = vmm.instance == Instance::Paused;
                // To shut down it would have to write: it is killed instead,
                // which its file systems' journals are made for.
                if !(paused && self.may_not_write()) {
                    steps.extend(paused.then_some(Step::ResumeGuest));
                    let grace_seconds = self.vm.spec.termination_grace_period_seconds;
                    steps.push(Step::ShutDownGuest { grace_seconds });
                }
            }
            steps.push(Step::KillVmm);
        }
        if (here.vmm.present().is_some() || here.jail.present().is_some())
            && !steps.contains(&Step::RemoveVmm)
        {
            steps.push(Step::RemoveVmm);
        }
        if here.tap.present().is_some() {
            steps.push(Step::RemoveTap);
        }
        if here.root.present().is_some() || here.origin.present().is_some() {
            steps.push(Step::RemoveRoot);
        }
        let loops = [
            (DiskRole::Work, &here.work_loop),
            (DiskRole::Cow, &here.cow_loop),
            (DiskRole::Base, &here.base_loop),
        ];
        for (role, device) in loops {
            if device.present().is_some() {
                steps.push(Step::DetachLoop { role });
            }
        }
        steps
    }

    /// An exit that nobody asked for counts for the crash back-off, unless the
    /// host went down with it.
    pub(super) fn record_exit(&self) -> Step {
        let ending = match self.here.guest {
            Guest::Leaving => Ending::Announced,
            _ if self.is_of_this_boot() => Ending::Unexpected,
            _ => Ending::Asked,
        };
        Step::RecordExit { ending }
    }
}
