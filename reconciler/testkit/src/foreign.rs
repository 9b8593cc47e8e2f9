//! What others keep on the host, and banger must not touch: each looks like
//! something of banger's to whoever goes by names.

use std::collections::BTreeSet;

/// Objects of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    taps: BTreeSet<String>,
    dms: BTreeSet<String>,
    /// Loop devices, with the file that each lies over.
    loops: BTreeSet<(u32, String)>,
    /// Processes by pid, with their command lines.
    processes: BTreeSet<(u32, String)>,
    tables: BTreeSet<String>,
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
        self.processes.iter().any(|(taken, _)| *taken == pid)
    }

    /// Whether the kernel can't give this loop device away.
    pub(crate) fn has_loop(&self, number: u32) -> bool {
        self.loops.iter().any(|(taken, _)| *taken == number)
    }

    /// A process of somebody else's gets a pid that a VMM had.
    pub(crate) fn run(&mut self, pid: u32) {
        self.processes
            .insert((pid, "/usr/bin/firecracker-exporter".to_owned()));
    }

    /// A signal to a pid, whoever has it now.
    pub(crate) fn signal(&mut self, pid: u32) {
        self.processes.retain(|(taken, _)| *taken != pid);
    }

    /// What a reboot leaves: nothing of it, until others start again.
    pub(crate) fn reboot(&mut self) {
        *self = Self::default();
    }
}
