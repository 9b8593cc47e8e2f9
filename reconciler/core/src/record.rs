//! What is written beside a VM's disks, for a daemon that has lost what it knew.
//!
//! ```text
//! no record --(first disk)--> not started --(before each start)--> started as
//!                                  ^                                   |
//!                                  +---------(next creation)-----------+
//! ```
//!
//! When the VM is renamed, it is renamed in here, too.
//!
//! A hint: the database decides, and next to it the kernel. With it, a start
//! that the database doesn't know is taken over instead of repeated, and a
//! VM that the database doesn't know keeps its uid, its disks and its address.

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

/// One process, over all boots of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incarnation {
    /// The host's boot id.
    pub boot_id: String,
    /// The process.
    pub process: Process,
}
