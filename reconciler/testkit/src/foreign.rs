//! What others keep on the host, and banger must not touch: each looks like
//! something of banger's to whoever goes by names or by numbers that the kernel
//! gave to a VM before.
//!
//! ```text
//! there from the start --+--> as it was left, or touched by a wrong step
//! in a VM's place -------+
//! ```

use std::collections::{BTreeMap, BTreeSet};

use banger_protocol::DiskRole;

/// Objects of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    taps: BTreeSet<String>,
    dms: BTreeSet<String>,
    /// Loop devices, with the file that each lies over.
    loops: BTreeMap<u32, String>,
    /// Processes by pid, with their command lines.
    processes: BTreeMap<u32, String>,
    tables: BTreeSet<String>,
}

/// What a VM has on the host by a number or a name, and somebody else may come
/// to have in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The VMM's pid.
    Process,
    /// A loop device's number.
    Loop(DiskRole),
    /// The name of the root disk's dm device.
    Root,
    /// The tap's name.
    Tap,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Process,
        Self::Loop(DiskRole::Base),
        Self::Loop(DiskRole::Cow),
        Self::Loop(DiskRole::Work),
        Self::Root,
        Self::Tap,
    ];
}

impl Default for Foreign {
    fn default() -> Self {
        Self {
            taps: ["tap-pool-1".to_owned()].into(),
            dms: ["banger-x".to_owned()].into(),
            loops: [(1, "/srv/backup.img".to_owned())].into(),
            processes: [(3, "/opt/firecracker --id not-banger".to_owned())].into(),
            tables: ["inet firewall".to_owned()].into(),
        }
    }
}

impl Foreign {
    /// Whether the kernel can't give this pid away.
    pub(crate) fn has_pid(&self, pid: u32) -> bool {
        self.processes.contains_key(&pid)
    }

    /// Whether the kernel can't give this loop device away.
    pub(crate) fn has_loop(&self, number: u32) -> bool {
        self.loops.contains_key(&number)
    }

    /// Whether nobody else can have a tap of this name.
    pub(crate) fn has_tap(&self, name: &str) -> bool {
        self.taps.contains(name)
    }

    /// Whether nobody else can have a dm device of this name.
    pub(crate) fn has_dm(&self, name: &str) -> bool {
        self.dms.contains(name)
    }

    /// A process of somebody else's gets a pid that a VMM had.
    pub(crate) fn run(&mut self, pid: u32) {
        self.processes
            .insert(pid, "/usr/bin/firecracker-exporter".to_owned());
    }

    /// A file of somebody else's gets a loop device that a VM's disk had.
    pub(crate) fn attach(&mut self, number: u32) {
        self.loops.insert(number, "/srv/other.img".to_owned());
    }

    /// Somebody else makes a tap.
    pub(crate) fn make_tap(&mut self, name: String) {
        self.taps.insert(name);
    }

    /// Somebody else makes a dm device.
    pub(crate) fn make_dm(&mut self, name: String) {
        self.dms.insert(name);
    }

    /// A signal to a pid, whoever has it now.
    pub(crate) fn signal(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// A detach of a loop device, whatever it lies over now.
    pub(crate) fn detach(&mut self, number: u32) {
        self.loops.remove(&number);
    }

    /// A removal by name.
    pub(crate) fn remove_tap(&mut self, name: &str) {
        self.taps.remove(name);
    }

    /// A removal by name.
    pub(crate) fn remove_dm(&mut self, name: &str) {
        self.dms.remove(name);
    }

    /// What stands in the place of something of banger's is taken away by
    /// whoever put it there; a reboot leaves nothing, until others start again.
    pub(crate) fn leave(&mut self) {
        *self = Self::default();
    }
}
