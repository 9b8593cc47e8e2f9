//! The trash of the simulated host: what was put away, and what comes back.

use std::sync::Arc;

use banger_core::intent::ImageDigest;
use banger_core::plan::Step;
use banger_core::record::VmRecord;
use banger_core::seam::{StepError, VmRef};
use banger_core::trash::Trashed;
use banger_protocol::DiskRole;

use super::disks::Disk;
use super::{FakeVm, Numbers, errno};

/// Disks that were put away together.
#[derive(Clone, Debug)]
pub(super) struct Shelved {
    cow: Option<Disk>,
    cow_over: Option<ImageDigest>,
    work: Option<Disk>,
    record: Option<Arc<VmRecord>>,
}

impl FakeVm {
    pub(super) fn drop_disks(
        &mut self,
        vm: &VmRef,
        step: &Step,
        purge: bool,
        numbers: &mut Numbers,
    ) -> Result<(), StepError> {
        if self.cow.is_some() || self.work.is_some() {
            return Err(errno(step, "EBUSY: a loop device holds a disk"));
        }
        let mut disks = Vec::new();
        disks.extend(self.cow_file.map(|_| DiskRole::Cow));
        disks.extend(self.work_file.map(|_| DiskRole::Work));
        if !purge && !disks.is_empty() {
            self.shelf = Some(Shelved {
                cow: self.cow_file,
                cow_over: self.cow_over.clone(),
                work: self.work_file,
                record: self.record.clone(),
            });
            self.put_into_trash(vm, None, disks, numbers);
        }
        (self.cow_file, self.cow_over, self.work_file) = (None, None, None);
        self.record = None;
        Ok(())
    }

    pub(super) fn restore(&mut self, vm: &VmRef, step: &Step) -> Result<(), StepError> {
        if self.cow_file.is_some() || self.work_file.is_some() {
            return Ok(());
        }
        let Some(disks) = self.shelf.take() else {
            return match vm {
                VmRef::Intended(vm) if vm.keeps_its_root_disk() => {
                    Err(errno(step, "its disks are nowhere"))
                }
                _ => Ok(()),
            };
        };
        (self.cow_file, self.cow_over, self.work_file) = (disks.cow, disks.cow_over, disks.work);
        self.record = disks.record;
        for entry in self.trash.extract_if(.., |entry| entry.disk.is_none()) {
            self.trash_over.remove(&entry.id);
        }
        Ok(())
    }

    pub(super) fn put_into_trash(
        &mut self,
        vm: &VmRef,
        disk: Option<DiskRole>,
        disks: Vec<DiskRole>,
        numbers: &mut Numbers,
    ) {
        self.trashed.extend(&disks);
        let name = match vm {
            VmRef::Intended(vm) => vm.name().as_str(),
            VmRef::Orphan(_) => "orphan",
        };
        let number = numbers.number(|_| true);
        let id = format!("{}-{name}-19700101T000000Z-{number}", vm.uid());
        if disks.contains(&DiskRole::Cow) {
            let over = self.cow_over.take();
            self.trash_over.extend(over.map(|over| (id.clone(), over)));
        }
        self.trash.push(Trashed {
            id,
            uid: vm.uid(),
            trashed: numbers.trashed,
            disk,
            vm: match vm {
                VmRef::Intended(vm) => Some((**vm).clone()),
                VmRef::Orphan(_) => None,
            },
            disks,
            taken: 4096,
            unread: None,
        });
    }

    /// Empties an entry; answers whether it was there.
    pub(crate) fn empty(&mut self, id: &str) -> bool {
        let Some(at) = self.trash.iter().position(|entry| entry.id == id) else {
            return false;
        };
        if self.trash.remove(at).disk.is_none() {
            self.shelf = None;
        }
        self.trash_over.remove(id);
        true
    }

    pub(super) fn trash(
        &mut self,
        vm: &VmRef,
        step: &Step,
        role: DiskRole,
        numbers: &mut Numbers,
    ) -> Result<(), StepError> {
        let (device, file) = match role {
            DiskRole::Cow => (self.cow, &mut self.cow_file),
            DiskRole::Work => (self.work, &mut self.work_file),
            DiskRole::Base => return Err(errno(step, "an image is never trashed")),
        };
        if device.is_some() {
            return Err(errno(step, "EBUSY: a loop device holds it"));
        }
        if file.take().is_some() {
            self.put_into_trash(vm, Some(role), vec![role], numbers);
        }
        if role == DiskRole::Cow {
            self.cow_over = None;
        }
        Ok(())
    }
}
