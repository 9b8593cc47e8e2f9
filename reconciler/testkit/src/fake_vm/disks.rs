//! Loop devices and the snapshot over them.

use banger_core::intent::ImageDigest;
use banger_core::plan::Step;
use banger_core::seam::StepError;
use banger_protocol::{DiskRole, LoopNumber, Sectors, VmUid};

use super::{FakeVm, Numbers, errno};
use crate::foreign::Foreign;

/// A disk: which one of all that there ever were, and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) serial: u32,
    pub(crate) length: u64,
}

impl Disk {
    /// What is there, at least so long; a new one where nothing is.
    pub(super) fn at_least(there: Option<Self>, length: u64, numbers: &mut Numbers) -> Self {
        match there {
            Some(disk) => Self {
                length: disk.length.max(length),
                ..disk
            },
            None => Self {
                serial: numbers.number(|_| true),
                length,
            },
        }
    }
}

impl FakeVm {
    pub(super) fn attach(
        &mut self,
        step: &Step,
        role: DiskRole,
        image: Option<&ImageDigest>,
        numbers: &mut Numbers,
        foreign: &Foreign,
    ) -> Result<(), StepError> {
        let mut device = || LoopNumber(numbers.number(|n| !foreign.has_loop(n)));
        let missing = || errno(step, "ENOENT: the disk is missing");
        let attached = match role {
            DiskRole::Base => {
                let image = image.ok_or_else(missing)?;
                match &self.base {
                    Some((_, over)) if over != image => {
                        return Err(errno(step, "EBUSY: attached over another image"));
                    }
                    Some((device, _)) => *device,
                    None => self.base.insert((device(), image.clone())).0,
                }
            }
            DiskRole::Cow => {
                self.cow_file.ok_or_else(missing)?;
                *self.cow.get_or_insert_with(device)
            }
            DiskRole::Work => {
                self.work_file.ok_or_else(missing)?;
                *self.work.get_or_insert_with(device)
            }
        };
        self.last.loops.insert(role, attached);
        Ok(())
    }

    /// Whether something stands on the loop device.
    pub(super) const fn is_busy(&self, role: DiskRole) -> bool {
        match role {
            DiskRole::Base => self.origin.is_some(),
            DiskRole::Cow => self.root.is_some(),
            DiskRole::Work => self.process.is_some(),
        }
    }

    pub(super) fn detach(
        &mut self,
        step: &Step,
        role: DiskRole,
        foreign: &mut Foreign,
    ) -> Result<(), StepError> {
        if self.is_busy(role) {
            return Err(errno(step, "EBUSY: the loop device is in use"));
        }
        let attached = match role {
            DiskRole::Base => self.base.take().is_some(),
            DiskRole::Cow => self.cow.take().is_some(),
            DiskRole::Work => self.work.take().is_some(),
        };
        let last = self.last.loops.remove(&role);
        if let Some(device) = last.filter(|_| !attached) {
            foreign.detach(device.0);
        }
        Ok(())
    }

    /// The origin, as far as the step is from being done.
    pub(super) fn ensure_origin(
        &mut self,
        uid: VmUid,
        step: &Step,
        size: Sectors,
        foreign: &Foreign,
    ) -> Result<(), StepError> {
        if self.base.is_none() || self.cow.is_none() {
            return Err(errno(step, "ENXIO: a loop device is missing"));
        }
        let name = uid.dm_root();
        if self.root.is_none() && foreign.has_dm(&name) {
            let message = format!("`{name}` exists and is not banger's");
            return Err(StepError::lasting(message, "nothing is done to it"));
        }
        match *self.origin.get_or_insert(size) {
            now if now == size => Ok(()),
            _ => Err(StepError::lasting(
                "the origin stands with another table",
                "remove it first",
            )),
        }
    }

    pub(super) fn ensure_root(
        &mut self,
        uid: VmUid,
        step: &Step,
        size: Sectors,
        foreign: &Foreign,
    ) -> Result<(), StepError> {
        self.ensure_origin(uid, step, size, foreign)?;
        self.root = Some(size);
        Ok(())
    }

    pub(super) fn remove_root(
        &mut self,
        uid: VmUid,
        step: &Step,
        foreign: &mut Foreign,
    ) -> Result<(), StepError> {
        if self.process.is_some() {
            return Err(errno(step, "EBUSY: the VMM holds the device"));
        }
        if self.root.is_none() && self.origin.is_none() {
            // By name, as whoever doesn't look first would.
            foreign.remove_dm(&uid.dm_root());
        }
        (self.root, self.origin) = (None, None);
        Ok(())
    }
}
