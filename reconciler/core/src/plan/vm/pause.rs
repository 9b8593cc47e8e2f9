//! A VM under disk pressure: guests that stand still, and starts that wait.

use super::{Case, wants_to_run};
use crate::effect::{Effect, Effective};
use crate::observed::Instance;
use crate::plan::{Step, Verb, VmPlan, Why, room};
use crate::pressure::Pressure;

impl Case<'_> {
    /// Whether a guest that was started and is to go on running must not write now.
    pub(super) fn must_stand_still(&self) -> bool {
        let started = self
            .here
            .vmm
            .present()
            .is_some_and(|vmm| matches!(vmm.instance, Instance::Running | Instance::Paused));
        started && wants_to_run(self.vm) && self.may_not_write()
    }

    /// Whether it is known that guests are to be paused.
    pub(super) fn may_not_write(&self) -> bool {
        self.clock.disk.pressure == Pressure::Guests && self.host.room.present().is_some()
    }

    fn no_room(&self, level: Pressure) -> Option<Why> {
        room::keeps_back(self.host, self.clock.disk, level)
    }

    /// What keeps back a start, where it is known which disks it would make.
    pub(super) fn no_room_to_start(&self, effective: &Effective) -> Option<Why> {
        let makes_disks = !effective.replace.is_empty()
            || self.here.cow_file.is_absent()
            || effective.spec.work_disk.is_some() && self.here.work_file.is_absent();
        // What has its disks starts for as long as others may run.
        self.no_room(if makes_disks {
            Pressure::Creates
        } else {
            Pressure::Guests
        })
    }

    pub(super) fn pause(&mut self) -> Option<VmPlan> {
        self.report_changes();
        if let Some(why) = self.no_room(Pressure::Guests) {
            self.waiting(why);
        }
        let running = self
            .here
            .vmm
            .present()
            .is_some_and(|vmm| vmm.instance == Instance::Running);
        running.then(|| {
            let reason = "the host's disk is nearly full";
            self.action(Verb::Pause, reason, Effect::Live, vec![Step::PauseGuest])
        })
    }

    /// Paused, and nothing says that it has to be any longer.
    pub(super) fn resume(&mut self) -> Option<VmPlan> {
        if let Some(why) = self.no_room(Pressure::Guests) {
            return self.wait(why);
        }
        let reason = "the host's disk has room again";
        Some(self.action(Verb::Resume, reason, Effect::Live, vec![Step::ResumeGuest]))
    }
}
