//! The smallest things that execution can do. A step names everything that it
//! needs, so that execution has nothing to decide, and is idempotent.

use banger_protocol::{DiskRole, NetworkPolicy, PoolSize, Sectors, VmUid, WarmUps};

use crate::api::{Name, Quantity};
use crate::intent::{Applied, ImageDigest};

/// A step of the host as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostStep {
    /// The bridge with its addresses.
    EnsureBridge {
        /// Whether it has one of IPv6.
        ipv6: bool,
    },
    /// What guests may reach, and nothing else.
    EnsureNat {
        /// It.
        policy: NetworkPolicy,
    },
    /// So many warm taps; none is left at 0.
    EnsurePool {
        /// How many are kept.
        size: PoolSize,
        /// How many are made at once.
        parallel: WarmUps,
    },
    /// A ballast of exactly this size, allocated in full.
    EnsureBallast {
        /// Its size.
        size: Quantity,
    },
    /// No ballast.
    ReleaseBallast,
}

/// A step of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageStep {
    /// Reads the owner's files and puts an immutable copy into the state directory.
    Import {
        /// The image's uid.
        uid: VmUid,
        /// Its name.
        name: Name,
        /// The generation that is imported.
        generation: u64,
    },
    /// Forgets the image object: its row goes.
    Forget {
        /// The image's uid.
        uid: VmUid,
        /// Its name.
        name: Name,
    },
    /// Removes imported files that no object and no VM needs.
    Remove {
        /// Which.
        digest: ImageDigest,
    },
}

/// A step of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Pins the image that the VM is made from, before anything is made of it.
    PinImage {
        /// Which.
        image: ImageDigest,
    },
    /// The VM's directory and a sparse copy-on-write store, at least this long.
    MakeRootDisk {
        /// Size of the root disk that it must be able to hold wholly.
        size: Sectors,
    },
    /// A sparse file with an empty ext4, or a longer one where it exists.
    MakeWorkDisk {
        /// Its size.
        size: Sectors,
    },
    /// Puts a disk that is to be replaced into the trash.
    TrashDisk {
        /// Which.
        role: DiskRole,
    },
    /// A loop device over a disk.
    AttachLoop {
        /// Which.
        role: DiskRole,
        /// For [`DiskRole::Base`], the image whose root file system it is.
        image: Option<ImageDigest>,
    },
    /// Origin and snapshot.
    EnsureRoot {
        /// Size of the root disk.
        size: Sectors,
    },
    /// The tap.
    EnsureTap,
    /// Jail and VMM process; its API answers afterwards.
    StartVmm {
        /// The image whose kernel and initrd it boots.
        image: ImageDigest,
    },
    /// Gives Firecracker the machine and starts the guest.
    BootGuest {
        /// What it is started with.
        applied: Box<Applied>,
    },
    /// Writes down that the guest runs and what it was started with.
    RecordStart {
        /// That.
        applied: Box<Applied>,
    },
    /// Opens and closes listeners so that exactly the spec's ports are published.
    PublishPorts,
    /// Gives the agent the spec's keys.
    UpdateGuest,
    /// Stops the guest's processors where they are.
    PauseGuest,
    /// Lets them go on, and tells the guest what time it is.
    ResumeGuest,
    /// Asks the guest to stop and waits until the VMM has exited, at most the grace period.
    ShutDownGuest {
        /// The grace period.
        grace_seconds: u32,
    },
    /// Kills the VMM and waits until it is gone.
    KillVmm,
    /// Removes jail, sockets and failed unit.
    RemoveVmm,
    /// Removes the tap.
    RemoveTap,
    /// Removes snapshot and origin.
    RemoveRoot,
    /// Detaches a loop device.
    DetachLoop {
        /// Which.
        role: DiskRole,
    },
    /// Writes down that the VMM ended, or is about to because it is asked to.
    RecordExit {
        /// In which way.
        ending: Ending,
    },
    /// Renews what is written beside the disks for a daemon without its database
    /// ([`crate::record`]).
    KeepRecord,
    /// Takes the disks back out of the trash, where they lie there and not in
    /// their place.
    RestoreDisks,
    /// Puts all disks into the trash, or removes them.
    DropDisks {
        /// Remove them.
        purge: bool,
    },
    /// The teardown was observed: the row goes, and with it name and addresses.
    Forget,
}

/// How a VMM ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is asked to, or the host went down with it: neither good nor bad.
    Asked,
    /// The guest announced it and ended well.
    Announced,
    /// Nobody asked for it: it counts for the crash back-off.
    Unexpected,
}

impl Step {
    /// Whether it is about the store alone, and never reaches a host.
    pub const fn is_the_stores(&self) -> bool {
        matches!(
            self,
            Self::PinImage { .. }
                | Self::RecordStart { .. }
                | Self::RecordExit { .. }
                | Self::Forget
        )
    }

    /// A few words for progress and events: `attaching the base loop`.
    pub fn describe(&self) -> String {
        match self {
            Self::PinImage { .. } => "pinning the image".into(),
            Self::MakeRootDisk { .. } => "making the root disk".into(),
            Self::MakeWorkDisk { .. } => "making the work disk".into(),
            Self::TrashDisk { role } => format!("moving the {} disk to the trash", role.as_str()),
            Self::AttachLoop { role, .. } => format!("attaching the {} loop", role.as_str()),
            Self::EnsureRoot { .. } => "creating the snapshot".into(),
            Self::EnsureTap => "creating the tap".into(),
            Self::StartVmm { .. } => "starting Firecracker".into(),
            Self::BootGuest { .. } => "booting the guest".into(),
            Self::RecordStart { .. } => "recording the start".into(),
            Self::PublishPorts => "publishing ports".into(),
            Self::UpdateGuest => "updating the guest".into(),
            Self::PauseGuest => "pausing the guest".into(),
            Self::ResumeGuest => "resuming the guest".into(),
            Self::ShutDownGuest { .. } => "shutting the guest down".into(),
            Self::KillVmm => "killing Firecracker".into(),
            Self::RemoveVmm => "removing the jail".into(),
            Self::RemoveTap => "removing the tap".into(),
            Self::RemoveRoot => "removing the snapshot".into(),
            Self::DetachLoop { role } => format!("detaching the {} loop", role.as_str()),
            Self::RecordExit {
                ending: Ending::Asked,
            } => "noting that the end is asked for".into(),
            Self::RecordExit { .. } => "recording the exit".into(),
            Self::KeepRecord => "renewing the record beside the disks".into(),
            Self::RestoreDisks => "taking the disks back from the trash".into(),
            Self::DropDisks { purge: true } => "removing the disks".into(),
            Self::DropDisks { purge: false } => "moving the disks to the trash".into(),
            Self::Forget => "releasing name and addresses".into(),
        }
    }
}
