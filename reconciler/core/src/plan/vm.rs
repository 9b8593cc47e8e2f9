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

mod lost;
mod pause;

use banger_protocol::{DiskRole, LoopNumber, Sectors};

use super::action::{BY_POLICY, Plan, Verb, VmPlan, Waiting, Why};
use super::{Clock, Ending, Step, waiting_until};
use crate::api::virtual_machine::{RunPolicy, UpdatePolicy};
use crate::effect::{self, Effect, Effective};
use crate::intent::{Applied, Intents, PowerOverride, VmIntent};
use crate::observed::{Guest, Instance, Observed, ObservedVm, Presence, Vmm};

/// What Firecracker itself needs beside the guest's memory.
const VMM_OVERHEAD: u64 = 32 << 20;

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

    /// Deletion: first everything that the kernel holds; once that has been
    /// seen to be gone, the disks and the row.
    fn teardown(&self) -> VmPlan {
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

    /// Not wanted running: off, with everything but its disks.
    fn stop(&self) -> Option<VmPlan> {
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

    /// Wanted running, and no VMM.
    fn missing(&mut self, memory: &mut Option<u64>) -> Option<VmPlan> {
        let effective = effect::effective(self.vm, self.intents);
        self.hold(&effective);
        let wanted = Sectors::from_bytes(effective.spec.root_disk.bytes());
        // A jail without a VMM: it ran, or nearly, and is gone.
        if self.here.jail.present().is_some() {
            let mut steps = vec![self.record_exit()];
            steps.extend(self.removals());
            let reason = if self.is_of_this_boot() {
                "Firecracker is gone"
            } else {
                "the host was rebooted"
            };
            return Some(self.action(Verb::Demote, reason, Effect::Restart, steps));
        }
        // Devices that the next start can't use as they are: of another size,
        // broken, or over a disk that is to be replaced.
        let here = self.here;
        let replaces = |role| effective.replace.contains(&role);
        let over_root = here.base_loop.present().is_some() || here.cow_loop.present().is_some();
        let stale = here
            .root
            .present()
            .is_some_and(|root| root.size != wanted || root.overflow)
            // Of a snapshot that was cut short: of what size it is can't be seen.
            || here.root.is_absent() && here.origin.present().is_some()
            || replaces(DiskRole::Cow) && (over_root || here.root.present().is_some())
            || replaces(DiskRole::Work) && here.work_loop.present().is_some();
        if stale {
            return Some(self.action(
                Verb::Demote,
                "its devices are not the ones that it needs",
                Effect::Restart,
                self.removals(),
            ));
        }
        let lost = lost::disks(self.vm, &effective, here);
        if !lost.is_empty() {
            return self.wait(Why::DiskMissing { changes: lost });
        }
        if let Some(until_ms) = waiting_until(&self.vm.crash, self.clock) {
            return self.wait(Why::CrashLoopBackOff { until_ms });
        }
        if let Some(why) = self.host.bridge.unknown() {
            return self.wait(Why::ObservationFailed {
                message: why.to_owned(),
            });
        }
        if let Some(why) = self.orphan_in_the_way() {
            return self.wait(why);
        }
        let Some(image) = effective.image.clone() else {
            let message = match self.intents.image(&self.vm.spec.image) {
                Some(_) => format!("image `{}` is not imported yet", self.vm.spec.image),
                None => format!("no file declares an image `{}`", self.vm.spec.image),
            };
            return self.wait(Why::ImageNotReady { message });
        };
        if let Some(rootfs) = self.rootfs_size(&image)
            && rootfs > effective.spec.root_disk
        {
            let message = format!(
                "spec.rootDisk.size is {}, but image `{}` alone is {}: write at least that",
                effective.spec.root_disk, effective.spec.image, rootfs
            );
            return self.wait(Why::RootDiskTooSmall { message });
        }
        if let Some(why) = self.no_room_to_start(&effective) {
            return self.wait(why);
        }
        let needed = effective.spec.memory.bytes() + VMM_OVERHEAD;
        let Some(left) = memory.as_mut() else {
            let message = "how much memory the host has left can't be read (see the daemon's \
                           log): nothing is started until it can"
                .to_owned();
            return self.wait(Why::ObservationFailed { message });
        };
        if needed > *left {
            let message = format!(
                "it needs {} and the host has {} MiB left",
                effective.spec.memory,
                *left >> 20
            );
            return self.wait(Why::InsufficientMemory { message });
        }
        *left -= needed;
        Some(self.create(&effective, image, wanted))
    }

    /// A VM that no intent knows and that has this one's address, or runs under
    /// its name: before it is gone, not even a disk is made.
    fn orphan_in_the_way(&self) -> Option<Why> {
        let named = |here: &ObservedVm| {
            let record = here.record.as_ref();
            here.vmm.present().is_some()
                && record.is_some_and(|record| record.vm.name() == self.vm.name())
        };
        let slot = self.vm.allocation.slot;
        let mut orphans = self.host.vms.iter().filter(|(uid, here)| {
            !self.intents.vms.contains_key(uid) && (here.slot == Some(slot) || named(here))
        });
        let (uid, here) = orphans.next()?;
        let has = match here.slot == Some(slot) {
            true => format!("has its address ({})", slot.tap()),
            false => "runs under its name".to_owned(),
        };
        let remedy = match here.vmm.is_absent() {
            true => "`banger gc` removes what is left of it".to_owned(),
            false => format!("`banger gc --orphan {uid}` ends it and keeps its disks in the trash"),
        };
        let message = format!("{uid}, which the database doesn't know, {has}: {remedy}");
        Some(Why::OrphanInTheWay { message })
    }

    fn create(
        &self,
        effective: &Effective,
        image: crate::intent::ImageDigest,
        size: Sectors,
    ) -> VmPlan {
        let mut steps = Vec::new();
        // The old disk goes before the new image is pinned, here and in what is
        // written beside the disks: at any moment a root disk that exists lies over
        // the image that is pinned, and a daemon without its database knows it.
        let replaces_root = effective.replace.contains(&DiskRole::Cow);
        if replaces_root && self.here.cow_file.present().is_some() {
            steps.push(Step::TrashDisk {
                role: DiskRole::Cow,
            });
        }
        if self.vm.image.as_ref() != Some(&image) {
            steps.push(Step::PinImage {
                image: image.clone(),
            });
            steps.extend(self.here.record.is_some().then_some(Step::KeepRecord));
        }
        if effective.replace.contains(&DiskRole::Work) && self.here.work_file.present().is_some() {
            steps.push(Step::TrashDisk {
                role: DiskRole::Work,
            });
        }
        steps.push(Step::MakeRootDisk { size });
        if let Some(work) = effective.spec.work_disk {
            steps.push(Step::MakeWorkDisk {
                size: Sectors::from_bytes(work.bytes()),
            });
        }
        let attach = |steps: &mut Vec<Step>, role, here: &Presence<LoopNumber>, image| {
            if here.present().is_none() {
                steps.push(Step::AttachLoop { role, image });
            }
        };
        let here = self.here;
        attach(
            &mut steps,
            DiskRole::Base,
            &here.base_loop,
            Some(image.clone()),
        );
        attach(&mut steps, DiskRole::Cow, &here.cow_loop, None);
        if effective.spec.work_disk.is_some() {
            attach(&mut steps, DiskRole::Work, &here.work_loop, None);
        }
        if here.root.present().is_none() {
            steps.push(Step::EnsureRoot { size });
        }
        if here.tap.present().is_none() {
            steps.push(Step::EnsureTap);
        }
        steps.push(Step::StartVmm {
            image: image.clone(),
        });
        let applied = Applied {
            spec: effective.spec.clone(),
            generation: self.vm.generation,
            image,
            restart_token: self.vm.restart_token,
        };
        steps.push(Step::BootGuest {
            applied: Box::new(applied),
        });
        if here.ports != self.vm.spec.ports {
            steps.push(Step::PublishPorts);
        }
        let reason = match &self.vm.applied {
            None => "it is new",
            Some(_) if replaces_root => "its root disk is replaced",
            Some(_) => "it isn't running",
        };
        let effect = if effective.replace.is_empty() {
            Effect::Live
        } else {
            Effect::ReplaceRoot
        };
        self.action(Verb::Create, reason, effect, steps)
    }

    /// Steps that take away everything but disks, from the guest downwards.
    fn removals(&self) -> Vec<Step> {
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
    fn record_exit(&self) -> Step {
        let ending = match self.here.guest {
            Guest::Leaving => Ending::Announced,
            _ if self.is_of_this_boot() => Ending::Unexpected,
            _ => Ending::Asked,
        };
        Step::RecordExit { ending }
    }

    fn is_of_this_boot(&self) -> bool {
        self.vm
            .started
            .as_ref()
            .is_some_and(|started| started.boot_id == self.host.boot_id)
    }

    fn rootfs_size(&self, image: &crate::intent::ImageDigest) -> Option<crate::api::Quantity> {
        self.intents
            .images
            .values()
            .filter_map(|object| object.imported.as_ref())
            .find(|imported| imported.digest == *image)
            .map(|imported| imported.rootfs)
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
