//! What the host holds, read in bulk. Each section is known or unknown on its
//! own: a failed probe never reads as "nothing there".

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{DiskRole, LoopNumber, NetworkPolicy, Obstacle, PoolSize, Sectors, Slot, VmUid};

/// A section that was read, or the reason why it could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe<T> {
    /// This is all there is.
    Known(T),
    /// Nothing can be said, because of this.
    Unknown(String),
}

/// Everything that the kernel and systemd hold under banger's tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Inventory {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// VMM units and jails.
    pub vmms: Probe<Vec<Vmm>>,
    /// Taps on our bridge or with our alias, but for the pool's.
    pub taps: Probe<Vec<Tap>>,
    /// The tap pool. `None`: one of the peers is older than the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Probe<TapPool>>,
    /// Loop devices with our tag.
    pub loops: Probe<Vec<Loop>>,
    /// dm devices with our UUID.
    pub dms: Probe<Vec<Dm>>,
    /// Whether the bridge stands with its address, up, and the tap of every VM
    /// on it.
    pub bridge: Probe<bool>,
    /// The guests in the NAT table; `None` where there is no table.
    pub nat: Probe<Option<BTreeSet<Slot>>>,
    /// What the tables let guests reach, wholly; `nat` is a part of it.
    /// `None`: one of the peers is older than this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Probe<Option<NetworkPolicy>>>,
    /// Rules of others that keep guests' packets from being forwarded.
    /// `None`: one of the peers is older than this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacles: Option<Probe<Vec<Obstacle>>>,
    /// How far IPv6 goes. `None`: one of the peers is older than this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Probe<Ipv6>>,
    /// Tables of iptables-legacy that packets are filtered by, as nft(8) would
    /// name them: `ip filter`. What is in them can't be read with nft.
    /// `None`: one of the peers is older than this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy_tables: Option<Probe<Vec<String>>>,
}

/// How far IPv6 goes on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ipv6 {
    /// The kernel has none, or it is switched off for new interfaces.
    Off,
    /// The host has it, the bridge has not.
    Host,
    /// The bridge has its gateway address, and listens to no router.
    Bridge,
}

/// One VMM, running or left over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Vmm {
    /// From the unit's and the jail's name.
    pub uid: VmUid,
    /// The firecracker process; `None` when it isn't running.
    pub process: Option<Process>,
    /// What that process runs. `None`: it isn't running, or one of the peers is
    /// older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<Probe<Executable>>,
    /// How it ended, while the failed unit is still loaded or its exit record is there.
    pub exit: Option<Exit>,
    /// Whether a jail directory is there.
    pub jail: bool,
}

/// Whose file a process runs (`/proc/<pid>/exe`, proc(5)), which nothing else tells of
/// a VMM: the name is its own to change, and so is all that lies in its jail but for
/// one program. That is root's, copied there by the jailer from the installed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executable {
    /// Root's, and nobody else may write to it.
    Installed,
    /// Somebody else's: the VMM runs what was not put there by root.
    Replaced,
}

/// A process that can't be mistaken for a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Process {
    /// The pid.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks after boot (proc(5)).
    pub start_time: u64,
}

/// How a VMM ended, in systemd's words (systemd.exec(5), `$SERVICE_RESULT`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Exit {
    /// `success`, `exit-code`, `signal`, `oom-kill`, …
    pub result: String,
    /// Exit status or signal number.
    pub status: i32,
}

/// A tap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tap {
    /// The interface's name.
    pub name: String,
    /// The VM in its alias; `None`: not ours, reported and never touched.
    pub uid: Option<VmUid>,
    /// Interface index.
    pub ifindex: u32,
    /// Attached to our bridge and up.
    pub attached: bool,
}

/// The tap pool, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TapPool {
    /// The size that it was last told; `None`: not since the helper began.
    pub size: Option<PoolSize>,
    /// Taps that a VM could have at once.
    pub warm: u32,
    /// Taps of ours that a crash left between pool and VM; they can't be handed out.
    pub unfinished: u32,
    /// Taps that VMs have.
    pub in_use: u32,
    /// Taps that were made for the pool since the helper began.
    pub created: u64,
    /// Taps that could not be, since the helper began.
    pub failed: u64,
}

/// A loop device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Loop {
    /// `/dev/loopN`.
    pub device: LoopNumber,
    /// From its tag.
    pub uid: VmUid,
    /// From its tag.
    pub role: DiskRole,
    /// Device number of the backing file's file system.
    pub backing_device: u64,
    /// Inode of the backing file.
    pub backing_inode: u64,
}

/// A device-mapper device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Dm {
    /// From its dm UUID.
    pub uid: VmUid,
    /// Its name.
    pub name: String,
    /// Whether this is the snapshot (the root disk) or its origin.
    pub part: DmPart,
    /// `/dev/dm-N`.
    pub node: String,
    /// Its size.
    pub size: Sectors,
    /// The snapshot is out of space or invalid.
    pub overflow: bool,
    /// Minor numbers of the loop devices below it.
    pub loops: BTreeSet<LoopNumber>,
}

/// The two devices of a root disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DmPart {
    /// The read-only image with zeros behind it.
    Origin,
    /// The snapshot: what the guest writes to.
    Root,
}
