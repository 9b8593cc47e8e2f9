//! What is written beside a VM's disks, for a daemon that has lost what it knew.
//!
//! ```text
//! no record --(first disk)--> not started --(before each start)--> started as
//!                                  ^                                   |
//!                                  +---------(next creation)-----------+
//! ```
//!
//! In between it is renewed whenever the VM's name, its address, or whether it is
//! to run come to differ from what it says; what it tells of the start stays.
//!
//! A hint: the database decides, and next to it the kernel. With it, a start
//! that the database doesn't know is taken over instead of repeated, and a VM
//! that the database doesn't know keeps its uid, its disks, its name and its
//! address, and stays off if somebody stopped it.

use banger_protocol::inventory::Process;
use serde::{Deserialize, Serialize};

use crate::intent::VmIntent;

/// A VM as it was last made or started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmRecord {
    /// The VMM whose guest was to be started; `None`: it was only being made.
    pub start: Option<Incarnation>,
    /// The VM. Its `applied` is what that guest was to be started with.
    pub vm: VmIntent,
}

impl VmRecord {
    /// Whether a takeover by this record would give the VM as it is intended:
    /// under its name, with its address, and on or off as it is to be. The rest
    /// is for its document to say, and for its next start to write down.
    pub fn is_current(&self, vm: &VmIntent) -> bool {
        let told = &self.vm;
        told.name() == vm.name()
            && told.allocation == vm.allocation
            // A word on its power counts for the run policy that it was said to.
            && told.spec.run_policy == vm.spec.run_policy
            && (told.power, told.completed) == (vm.power, vm.completed)
    }

    /// The record of a VM as it is intended now; of its start it tells what the
    /// `former` one did.
    #[must_use]
    pub fn renewed(former: Option<&Self>, vm: &VmIntent) -> Self {
        let mut record = Self {
            start: former.and_then(|former| former.start.clone()),
            vm: vm.clone(),
        };
        if let Some(former) = former.filter(|_| record.start.is_some()) {
            record.vm.applied.clone_from(&former.vm.applied);
        }
        record
    }
}

/// One process, over all boots of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incarnation {
    /// The host's boot id.
    pub boot_id: String,
    /// The process.
    pub process: Process,
}
