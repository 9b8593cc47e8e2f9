//! One VM: what stands between what is there and what is wanted.
//!
//! ```text
//!                                            paused
//!                                            ^    | pause, resume
//!                                            |    v
//! absent --create--> not started --(boot)--> running --stop--> absent
//!    ^                    |                     |
//!    |                    +--demote (half made) |
//!    +----demote (exited, host rebooted)--------+   deletion: teardown, then forget
//! ```

mod create;
mod lost;
mod pause;
mod removal;

use super::action::{BY_POLICY, Plan, Verb, VmPlan, Waiting, Why};
use super::{Clock, Step, waiting_until};
use crate::api::virtual_machine::{RunPolicy, UpdatePolicy};
use crate::effect::{self, Effect, Effective};
use crate::intent::{Intents, PowerOverride, VmIntent};
use crate::observed::{Guest, Instance, Observed, ObservedVm, Presence, Vmm};

/// Whether the VM should be running, apart from back-offs and missing things.
pub fn wants_to_run(vm: &VmIntent) -> bool {
    vm.deletion.is_none()
        && match (vm.power, vm.spec.run_policy) {
            (PowerOverride::Stopped, _) => false,
            (PowerOverride::Started, _) | (_, RunPolicy::Always) => true,
            (_, RunPolicy::OnFailure) => !vm.completed,
            (_, RunPolicy::Halted) => false,
        }
}

pub(super) fn plan(
    vm: &VmIntent,
    intents: &Intents,
    observed: &Observed,
    clock: Clock,
    memory: &mut Option<u64>,
    plan: &mut Plan,
) {
    let mut case = Case::of(vm, intents, observed, clock, &mut plan.waiting);
    if let Some(action) = case.decide(memory) {
        plan.vms.push(action);
    }
}

/// For a VM that runs, and that its update policy would restart if it were its
/// turn.
pub(super) fn plan_without_turn(
    vm: &VmIntent,
    intents: &Intents,
    observed: &Observed,
    clock: Clock,
    plan: &mut Plan,
) {
    let mut case = Case {
        may_restart: false,
        ..Case::of(vm, intents, observed, clock, &mut plan.waiting)
    };
    // What runs needs no memory of the host's.
    if let Some(action) = case.decide(&mut None) {
        plan.vms.push(action);
    }
}

struct Case<'a> {
    vm: &'a VmIntent,
    intents: &'a Intents,
    here: &'a ObservedVm,
    host: &'a Observed,
    clock: Clock,
    /// Its update policy may restart it now.
    may_restart: bool,
    waiting: &'a mut Vec<Waiting>,
}

impl<'a> Case<'a> {
    fn of(
        vm: &'a VmIntent,
        intents: &'a Intents,
        host: &'a Observed,
        clock: Clock,
        waiting: &'a mut Vec<Waiting>,
    ) -> Self {
        Self {
            vm,
            intents,
            here: host.vm(vm.uid),
            host,
            clock,
            may_restart: true,
            waiting,
        }
    }
}

impl Case<'_> {
    fn decide(&mut self, memory: &mut Option<u64>) -> Option<VmPlan> {
        // Before everything that could keep it back: a write may fail any moment.
        if self.must_stand_still() {
            return self.pause();
        }
        if let Some(why) = self.here.first_unknown() {
            return self.wait(Why::ObservationFailed {
                message: why.to_owned(),
            });
        }
        if let Some(until_ms) = waiting_until(&self.vm.error, self.clock) {
            self.report_changes();
            return self.wait(Why::BackOff { until_ms });
        }
        if self.vm.deletion.is_some() {
            return Some(self.teardown());
        }
        if self.vm.restoring {
            return Some(self.restore());
        }
        let action = if wants_to_run(self.vm) {
            match &self.here.vmm {
                Presence::Present(vmm) => self.running(vmm),
                // Unknown was dealt with above.
                Presence::Absent | Presence::Unknown(_) => self.missing(memory),
            }
        } else {
            self.report_held();
            self.stop()
        };
        action.or_else(|| self.keep_record())
    }

    /// Its disks may lie in the trash. Where they do, nothing of it is left in
    /// the kernel; where they don't, the step changes nothing and what runs
    /// goes on running.
    fn restore(&self) -> VmPlan {
        self.action(
            Verb::Restore,
            "its document is back",
            Effect::Live,
            vec![Step::RestoreDisks],
        )
    }

    /// Whether what is written beside its disks would bring back another VM than
    /// this is, and can be renewed: without a disk there is nothing to bring back.
    fn record_is_old(&self) -> bool {
        let here = self.here;
        let has_disks = here.cow_file.present().is_some() || here.work_file.present().is_some();
        let record = here.record.as_ref();
        has_disks
            && !self.may_not_write()
            && record.is_none_or(|record| !record.is_current(self.vm))
    }

    fn keep_record(&self) -> Option<VmPlan> {
        self.record_is_old().then(|| {
            let reason = "what is written beside its disks is out of date";
            self.action(Verb::Update, reason, Effect::Live, vec![Step::KeepRecord])
        })
    }

    fn running(&mut self, vmm: &Vmm) -> Option<VmPlan> {
        match &vmm.instance {
            Instance::NotStarted => {
                return Some(self.action(
                    Verb::Demote,
                    "its start was not finished",
                    Effect::Restart,
                    self.removals(),
                ));
            }
            Instance::Unknown(why) => {
                let message = format!("Firecracker's API gave no answer: {why}");
                return self.wait(Why::ObservationFailed { message });
            }
            Instance::Paused => return self.resume(),
            Instance::Running => {}
        }
        // A start is recorded after it happened, and forgotten before a stop;
        // and an old database may have been put back. What runs is no worse
        // for that: it is taken over as it stands.
        let recorded = self.vm.applied.as_ref().filter(|_| self.is_of_this_boot());
        let known = self.here.started_with(&self.host.boot_id);
        if let Some(known) = known
            && !recorded.is_some_and(|recorded| recorded.is_same_start(known))
        {
            let applied = Box::new(known.clone());
            let record = vec![Step::RecordStart { applied }];
            let reason = "it runs and its start was not recorded";
            return Some(self.action(Verb::Update, reason, Effect::Live, record));
        }
        let Some(applied) = recorded else {
            return self.unrecorded();
        };
        let changes = effect::pending(self.vm, self.intents);
        let effective = effect::effective(self.vm, self.intents);
        let restart: Vec<_> = changes
            .iter()
            .filter(|change| change.effect == Effect::Restart)
            .cloned()
            .collect();
        let auto = self.vm.spec.update_policy == UpdatePolicy::Auto
            && self.may_restart
            && !restart.is_empty();
        let asked = applied.restart_token < self.vm.restart_token;
        let reason = if !effective.replace.is_empty() {
            Some("a confirmed change replaces a disk")
        } else if asked {
            Some("a restart was asked for")
        } else if auto {
            Some(BY_POLICY)
        } else {
            None
        };
        self.hold(&effective);
        // What is stopped and can't be started again had better run on.
        let kept_back = reason.and_then(|_| self.no_room_to_start(&effective));
        if let Some(why) = kept_back {
            self.waiting(why);
        } else if let Some(reason) = reason {
            let effect = if effective.replace.is_empty() {
                Effect::Restart
            } else {
                Effect::ReplaceRoot
            };
            return Some(self.action(Verb::Stop, reason, effect, self.removals()));
        }
        if !restart.is_empty() {
            self.waiting(Why::RestartRequired { changes: restart });
        }
        let mut steps = Vec::new();
        if self.here.ports != self.vm.spec.ports {
            steps.push(Step::PublishPorts);
        }
        let (now, wanted) = (&applied.spec, &self.vm.spec);
        let told = now.ssh_authorized_keys == wanted.ssh_authorized_keys
            && now.file_sync == wanted.file_sync;
        if !told && self.here.guest == Guest::Ready {
            steps.push(Step::UpdateGuest);
        }
        if steps.is_empty() {
            return None;
        }
        Some(self.action(Verb::Update, "its spec changed", Effect::Live, steps))
    }

    /// Nothing tells what it was started with, so that nothing can be compared
    /// with it. It is left as it is, unless a person asks for a fresh start.
    fn unrecorded(&mut self) -> Option<VmPlan> {
        let honoured = self
            .vm
            .applied
            .as_ref()
            .map(|applied| applied.restart_token);
        if honoured.unwrap_or(0) < self.vm.restart_token {
            let effective = effect::effective(self.vm, self.intents);
            return match self.no_room_to_start(&effective) {
                Some(why) => self.wait(why),
                None => {
                    let (reason, effect) = ("a restart was asked for", Effect::Restart);
                    Some(self.action(Verb::Stop, reason, effect, self.removals()))
                }
            };
        }
        self.wait(Why::StartNotRecorded)
    }

    fn is_of_this_boot(&self) -> bool {
        self.vm
            .started
            .as_ref()
            .is_some_and(|started| started.boot_id == self.host.boot_id)
    }

    fn hold(&mut self, effective: &Effective) {
        if !effective.held.is_empty() {
            self.waiting(Why::ConfirmationRequired {
                changes: effective.held.clone(),
            });
        }
    }

    fn report_held(&mut self) {
        let effective = effect::effective(self.vm, self.intents);
        self.hold(&effective);
    }

    /// What a VM in back-off waits for besides.
    fn report_changes(&mut self) {
        self.report_held();
        let changes: Vec<_> = effect::pending(self.vm, self.intents)
            .into_iter()
            .filter(|change| change.effect == Effect::Restart)
            .collect();
        if !changes.is_empty() && self.here.vmm.present().is_some() {
            self.waiting(Why::RestartRequired { changes });
        }
    }

    fn waiting(&mut self, why: Why) {
        let (uid, name) = (self.vm.uid, self.vm.name().clone());
        self.waiting.push(Waiting { uid, name, why });
    }

    fn wait(&mut self, why: Why) -> Option<VmPlan> {
        self.waiting(why);
        None
    }

    fn action(&self, verb: Verb, reason: &str, effect: Effect, steps: Vec<Step>) -> VmPlan {
        VmPlan {
            uid: self.vm.uid,
            name: self.vm.name().to_string(),
            verb,
            reason: reason.to_owned(),
            effect,
            steps,
        }
    }
}
