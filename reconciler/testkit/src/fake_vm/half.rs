//! Steps that are cut short: what is left where whoever does one dies in the
//! middle of it. A step of one system call leaves nothing.

use banger_core::observed::Guest;
use banger_core::plan::Step;
use banger_core::seam::VmRef;
use banger_protocol::DiskRole;

use super::disks::Disk;
use super::{FakeVm, Numbers, intent};
use crate::foreign::Foreign;

impl FakeVm {
    pub(crate) fn half(
        &mut self,
        vm: &VmRef,
        step: &Step,
        numbers: &mut Numbers,
        foreign: &Foreign,
        boot_id: &str,
    ) {
        match step {
            // The file, and nothing in it.
            Step::MakeRootDisk { .. } => {
                if self.cow_file.is_none() {
                    self.cow_over = intent(vm).and_then(|vm| vm.image.clone());
                }
                self.cow_file = Some(Disk::at_least(self.cow_file, 0, numbers));
            }
            // The description, without the disk.
            Step::TrashDisk { role } => {
                let (device, file) = match role {
                    DiskRole::Cow => (self.cow, self.cow_file),
                    DiskRole::Work => (self.work, self.work_file),
                    DiskRole::Base => return,
                };
                if device.is_none() && file.is_some() {
                    self.put_into_trash(vm, Some(*role), Vec::new(), numbers);
                }
            }
            Step::EnsureRoot { size } => {
                // What it refuses it refuses at once.
                let _ = self.ensure_origin(vm.uid(), step, *size, foreign);
            }
            Step::RemoveRoot if self.process.is_none() => self.root = None,
            // The jail, and nothing in it.
            Step::StartVmm { .. }
                if self.root.is_some() && self.tap.is_some() && self.process.is_none() =>
            {
                (self.jail, self.exit) = (true, None);
                self.guest = Guest::Silent;
            }
            // It was written down, and not started.
            Step::BootGuest { applied } => {
                if let (Some(process), false) = (self.process, self.booted) {
                    self.write_start(vm, applied, process, boot_id);
                }
            }
            // The unit is forgotten, and the jail still there.
            Step::RemoveVmm if self.process.is_none() => self.exit = None,
            // The first of two files.
            Step::DropDisks { purge: true } if self.cow.is_none() && self.work.is_none() => {
                (self.cow_file, self.cow_over) = (None, None);
            }
            _ => {}
        }
    }
}
