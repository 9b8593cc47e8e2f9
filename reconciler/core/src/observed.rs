//! What the host holds, read once per pass. Three-valued throughout: a probe
//! that failed is [`Presence::Unknown`], and nothing turns that into absence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::Arc;

use banger_protocol::inventory::{Executable, Exit, Ipv6, Process, TapPool};
use banger_protocol::{LoopNumber, NetworkPolicy, Obstacle, Sectors, Slot, VmUid};

use crate::api::virtual_machine::Port;
use crate::intent::{Applied, ImageDigest, Intents};
use crate::pressure::Room;
use crate::record::VmRecord;
use crate::trash::Pins;

/// There, not there, or not to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence<T> {
    /// It was looked for and isn't there.
    Absent,
    /// It is there.
    Present(T),
    /// It could not be looked for, because of this.
    Unknown(String),
}

impl<T> Presence<T> {
    /// The thing, if it is there.
    pub const fn present(&self) -> Option<&T> {
        match self {
            Self::Present(thing) => Some(thing),
            _ => None,
        }
    }

    /// Whether it is known not to be there.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether it is there; `None`: it can't be told.
    pub const fn told(&self) -> Option<bool> {
        match self {
            Self::Absent => Some(false),
            Self::Present(_) => Some(true),
            Self::Unknown(_) => None,
        }
    }

    /// Why it can't be told.
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Self::Unknown(why) => Some(why),
            _ => None,
        }
    }
}

/// A VMM process and how far it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmm {
    /// The process.
    pub process: Process,
    /// What its API says.
    pub instance: Instance,
    /// Whose program it runs; absent: the helper is older than this look.
    pub executable: Presence<Executable>,
}

/// Firecracker's instance state (`GET /`, `InstanceInfo.state`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instance {
    /// The process is there; the guest was never started.
    NotStarted,
    /// The guest runs.
    Running,
    /// It was started, and its processors stand still.
    Paused,
    /// The API gave no answer.
    Unknown(String),
}

/// What the agent has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Guest {
    /// Nothing yet.
    #[default]
    Silent,
    /// It runs and answers.
    Ready,
    /// It reported that the boot can't go on.
    Failed {
        /// What it was doing.
        stage: String,
        /// Why.
        message: String,
    },
    /// It answered before and doesn't now.
    Lost(String),
    /// It announced that it is about to end of its own accord.
    Leaving,
}

/// The files of a VM in the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFile {
    /// Its length in bytes.
    pub length: u64,
}

/// The snapshot device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// `/dev/dm-N`.
    pub node: String,
    /// Its size.
    pub size: Sectors,
    /// Out of space or invalid.
    pub overflow: bool,
}

/// All that there is of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedVm {
    /// The running VMM.
    pub vmm: Presence<Vmm>,
    /// How the last one ended, where that is known.
    pub exit: Option<Exit>,
    /// Jail or unit left over, or in use.
    pub jail: Presence<()>,
    /// The tap, with its ifindex.
    pub tap: Presence<u32>,
    /// The slot that the tap is named after.
    pub slot: Option<Slot>,
    /// The loop over the image.
    pub base_loop: Presence<LoopNumber>,
    /// The loop over the copy-on-write store.
    pub cow_loop: Presence<LoopNumber>,
    /// The loop over the work disk.
    pub work_loop: Presence<LoopNumber>,
    /// The snapshot's origin.
    pub origin: Presence<()>,
    /// The snapshot.
    pub root: Presence<Root>,
    /// `root.cow`.
    pub cow_file: Presence<DiskFile>,
    /// `work.ext4`.
    pub work_file: Presence<DiskFile>,
    /// What is written beside the disks, where it can be made out.
    pub record: Option<Arc<VmRecord>>,
    /// What the agent has said.
    pub guest: Guest,
    /// The guest's IPv6 address, once its agent said that the guest has it.
    pub ipv6: Option<Ipv6Addr>,
    /// Ports that are published now, sorted; they live in the daemon's memory.
    pub ports: Vec<Port>,
}

impl ObservedVm {
    /// A VM that the host holds nothing of.
    pub fn absent() -> Self {
        Self {
            vmm: Presence::Absent,
            exit: None,
            jail: Presence::Absent,
            tap: Presence::Absent,
            slot: None,
            base_loop: Presence::Absent,
            cow_loop: Presence::Absent,
            work_loop: Presence::Absent,
            origin: Presence::Absent,
            root: Presence::Absent,
            cow_file: Presence::Absent,
            work_file: Presence::Absent,
            record: None,
            guest: Guest::Silent,
            ipv6: None,
            ports: Vec::new(),
        }
    }

    /// A VM of which nothing can be told.
    pub fn unknown(why: &str) -> Self {
        fn u<T>(why: &str) -> Presence<T> {
            Presence::Unknown(why.to_owned())
        }
        Self {
            vmm: u(why),
            exit: None,
            jail: u(why),
            tap: u(why),
            slot: None,
            base_loop: u(why),
            cow_loop: u(why),
            work_loop: u(why),
            origin: u(why),
            root: u(why),
            cow_file: u(why),
            work_file: u(why),
            record: None,
            guest: Guest::Silent,
            ipv6: None,
            ports: Vec::new(),
        }
    }

    /// Whether it has a root disk, in a file or in use, which is worth nothing
    /// without its image; `None`: it can't be told.
    pub fn has_root(&self) -> Option<bool> {
        let signs = [
            self.cow_file.told(),
            self.cow_loop.told(),
            self.base_loop.told(),
            self.origin.told(),
            self.root.told(),
            vm_alive(self),
        ];
        match signs.contains(&Some(true)) {
            true => Some(true),
            false if signs.contains(&None) => None,
            false => Some(false),
        }
    }

    /// What the VMM that runs was started with, where that is written down: its
    /// pid, start time and boot id are those of the record.
    pub fn started_with(&self, boot_id: &str) -> Option<&Applied> {
        let record = self.record.as_ref()?;
        let start = record.start.as_ref()?;
        let process = self.vmm.present()?.process;
        let fits = start.process == process && start.boot_id == boot_id;
        record.vm.applied.as_ref().filter(|_| fits)
    }

    /// The first reason why something can't be told.
    pub fn first_unknown(&self) -> Option<&str> {
        self.vmm
            .unknown()
            .or_else(|| self.jail.unknown())
            .or_else(|| self.tap.unknown())
            .or_else(|| self.base_loop.unknown())
            .or_else(|| self.cow_loop.unknown())
            .or_else(|| self.work_loop.unknown())
            .or_else(|| self.origin.unknown())
            .or_else(|| self.root.unknown())
            .or_else(|| self.cow_file.unknown())
            .or_else(|| self.work_file.unknown())
    }
}

/// `vm_alive`, the single source of truth for liveness: a VMM process that is
/// provably this VM's is there. `None`: it can't be told.
pub const fn vm_alive(vm: &ObservedVm) -> Option<bool> {
    vm.vmm.told()
}

/// The whole host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Changes at every boot of the host.
    pub boot_id: String,
    /// Every VM that the host holds anything of, wanted or not.
    pub vms: BTreeMap<VmUid, ObservedVm>,
    /// What a VM that isn't in `vms` looks like: absent, or unknown where a
    /// probe failed as a whole.
    pub elsewhere: ObservedVm,
    /// The bridge, with every VM's tap on it.
    pub bridge: Presence<()>,
    /// How far IPv6 goes; absent: the helper is older than that.
    pub ipv6: Presence<Ipv6>,
    /// What the tables let guests reach.
    pub nat: Presence<NetworkPolicy>,
    /// Rules of others that keep guests' packets from being forwarded; absent:
    /// the helper is older than this look.
    pub obstacles: Presence<Vec<Obstacle>>,
    /// The tap pool.
    pub pool: Presence<TapPool>,
    /// Imported images in the state directory.
    pub images: Presence<BTreeSet<ImageDigest>>,
    /// Images that disks in the trash lie over.
    pub trash: Presence<Pins>,
    /// Room for the state directory.
    pub room: Presence<Room>,
}

impl Observed {
    /// A host that holds nothing at all.
    pub fn absent(boot_id: impl Into<String>) -> Self {
        Self {
            boot_id: boot_id.into(),
            vms: BTreeMap::new(),
            elsewhere: ObservedVm::absent(),
            bridge: Presence::Absent,
            ipv6: Presence::Absent,
            nat: Presence::Absent,
            obstacles: Presence::Absent,
            pool: Presence::Absent,
            images: Presence::Absent,
            trash: Presence::Absent,
            room: Presence::Absent,
        }
    }

    /// A host of which nothing is known.
    pub fn unknown(boot_id: impl Into<String>, why: &str) -> Self {
        Self {
            boot_id: boot_id.into(),
            vms: BTreeMap::new(),
            elsewhere: ObservedVm::unknown(why),
            bridge: Presence::Unknown(why.into()),
            ipv6: Presence::Unknown(why.into()),
            nat: Presence::Unknown(why.into()),
            obstacles: Presence::Unknown(why.into()),
            pool: Presence::Unknown(why.into()),
            images: Presence::Unknown(why.into()),
            trash: Presence::Unknown(why.into()),
            room: Presence::Unknown(why.into()),
        }
    }

    /// Whether a VM that these intents don't know has a root disk, and so may
    /// need any image; `None`: it can't be told.
    pub fn has_orphaned_roots(&self, intents: &Intents) -> Option<bool> {
        let orphans = self.vms.iter();
        let orphans = orphans.filter(|(uid, _)| !intents.vms.contains_key(uid));
        let mut roots: Vec<_> = orphans.map(|(_, vm)| vm.has_root()).collect();
        roots.push(self.elsewhere.has_root());
        match roots.contains(&Some(true)) {
            true => Some(true),
            false if roots.contains(&None) => None,
            false => Some(false),
        }
    }

    /// Whether the host could give guests IPv6.
    pub fn has_ipv6(&self) -> bool {
        self.ipv6.present().is_some_and(|far| *far != Ipv6::Off)
    }

    /// What is there of this VM.
    pub fn vm(&self, uid: VmUid) -> &ObservedVm {
        self.vms.get(&uid).unwrap_or(&self.elsewhere)
    }
}
