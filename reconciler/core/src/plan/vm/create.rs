//! A VM that is to run and has no VMM: what is made for it, and what it waits for.

use banger_protocol::{DiskRole, LoopNumber, Sectors};

use super::{Case, lost};
use crate::api::Quantity;
use crate::effect::{self, Effect, Effective};
use crate::intent::{Applied, ImageDigest};
use crate::observed::{ObservedVm, Presence};
use crate::plan::action::{Verb, VmPlan, Why};
use crate::plan::{Step, waiting_until};

/// What Firecracker itself needs beside the guest's memory.
const VMM_OVERHEAD: u64 = 32 << 20;

impl Case<'_> {
    /// Wanted running, and no VMM.
    pub(super) fn missing(&mut self, memory: &mut Option<u64>) -> Option<VmPlan> {
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

    fn create(&self, effective: &Effective, image: ImageDigest, size: Sectors) -> VmPlan {
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

    fn rootfs_size(&self, image: &ImageDigest) -> Option<Quantity> {
        self.intents
            .images
            .values()
            .filter_map(|object| object.imported.as_ref())
            .find(|imported| imported.digest == *image)
            .map(|imported| imported.rootfs)
    }
}
