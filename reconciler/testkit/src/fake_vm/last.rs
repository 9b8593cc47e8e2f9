//! What a daemon may take for a VM's: the numbers and names that it had last.
//!
//! Nothing of this is observed. It is what a scratch file or a memory would
//! still say, and a step that goes by it hits whoever has it now.

use std::collections::BTreeMap;

use banger_protocol::{DiskRole, LoopNumber, Slot};

use super::FakeVm;
use crate::foreign::Foreign;

/// Numbers and names, until a step gives them back.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    pub(super) pid: Option<u32>,
    pub(super) loops: BTreeMap<DiskRole, LoopNumber>,
    pub(super) tap: Option<Slot>,
}

impl FakeVm {
    /// The host boots, and what others start first gets the VM's old numbers.
    pub(crate) fn give_numbers_to(&self, foreign: &mut Foreign) {
        if let Some(pid) = self.last.pid {
            foreign.run(pid);
        }
        for device in self.last.loops.values() {
            foreign.attach(device.0);
        }
    }

    /// The slot that its tap is or was named after.
    pub(crate) const fn last_slot(&self) -> Option<Slot> {
        self.last.tap
    }

    /// Somebody kills its VMM; the pid that is free then.
    pub(crate) fn lose_process(&mut self) -> Option<u32> {
        let pid = self.process?.pid;
        self.end("signal", 9);
        Some(pid)
    }

    /// Somebody detaches a loop device that nothing stands on; the number that
    /// is free then.
    pub(crate) fn lose_loop(&mut self, role: DiskRole) -> Option<LoopNumber> {
        if self.is_busy(role) {
            return None;
        }
        match role {
            DiskRole::Base => self.base.take().map(|(device, _)| device),
            DiskRole::Cow => self.cow.take(),
            DiskRole::Work => self.work.take(),
        }
    }

    /// Somebody removes its dm devices, unless the VMM holds them; whether
    /// there are none now.
    pub(crate) fn lose_root(&mut self) -> bool {
        if self.process.is_none() {
            (self.root, self.origin) = (None, None);
        }
        self.root.is_none()
    }

    /// Somebody removes its tap, unless the VMM holds it; whether there is
    /// none now.
    pub(crate) fn lose_tap(&mut self) -> bool {
        if self.process.is_none() {
            self.tap = None;
        }
        self.tap.is_none()
    }
}
