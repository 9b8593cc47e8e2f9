//! A plan, and what it says about each VM.

use banger_protocol::VmUid;
use serde::{Deserialize, Serialize};

use super::{HostStep, ImageStep, Step};
use crate::api::{Name, Quantity};
use crate::effect::{Effect, FieldChange};

/// The verbs, in the order in which they are carried out: what can't wait,
/// then removes before adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// It runs, and a write of its guest could fail: it is paused, before all else.
    Pause,
    /// Everything of the VM goes.
    Teardown,
    /// It should run and doesn't, or half: what is left of it goes, its disks stay.
    Demote,
    /// It runs and should not, or should run otherwise: it is stopped.
    Stop,
    /// It was paused and goes on.
    Resume,
    /// Its disks come back from the trash.
    Restore,
    /// It is made and started.
    Create,
    /// It is changed as it is, on or off.
    Update,
}

impl Verb {
    /// Its word, in previews and in the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Teardown => "teardown",
            Self::Demote => "demote",
            Self::Pause => "pause",
            Self::Stop => "stop",
            Self::Resume => "resume",
            Self::Restore => "restore",
            Self::Create => "create",
            Self::Update => "update",
        }
    }
}

/// The reason of a restart that nobody asked for but `updatePolicy: Auto`.
pub(super) const BY_POLICY: &str = "its update policy is Auto and a change needs a restart";

/// What is to be done for one VM now. Steps run in order; the first failure ends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmPlan {
    /// The VM.
    pub uid: VmUid,
    /// Its name; the uid's text where only the host knows it.
    pub name: String,
    /// What.
    pub verb: Verb,
    /// Why, for a person: `the file is gone`, `the VMM is gone`.
    pub reason: String,
    /// The gravest effect of it on the guest.
    pub effect: Effect,
    /// How.
    pub steps: Vec<Step>,
}

impl VmPlan {
    /// Whether nobody notices anything of it, neither guest nor owner.
    pub fn is_bookkeeping(&self) -> bool {
        self.steps.iter().all(|step| *step == Step::KeepRecord)
    }

    /// Whether it ends a guest for no other reason than `updatePolicy: Auto`.
    pub fn is_by_policy(&self) -> bool {
        self.verb == Verb::Stop && self.reason == BY_POLICY
    }
}

/// Something that is wanted and not done now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The VM or image.
    pub uid: VmUid,
    /// Its name.
    pub name: Name,
    /// What for.
    pub why: Why,
}

/// What a VM or an image waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "reason",
    rename_all = "PascalCase",
    rename_all_fields = "camelCase"
)]
pub enum Why {
    /// Something could not be observed.
    ObservationFailed {
        /// What the probe said.
        message: String,
    },
    /// Its image isn't there (yet).
    ImageNotReady {
        /// Which, and what is the matter with it.
        message: String,
    },
    /// It doesn't fit into the host's memory now.
    InsufficientMemory {
        /// How much is wanted and how much there is.
        message: String,
    },
    /// Its VMM ended by itself; it is started again then.
    CrashLoopBackOff {
        /// Boot clock, milliseconds.
        until_ms: u64,
    },
    /// An action failed; it is tried again then.
    BackOff {
        /// Boot clock, milliseconds.
        until_ms: u64,
    },
    /// It runs, and nothing tells what it was started with: it is left as it is
    /// until somebody restarts it.
    StartNotRecorded,
    /// A VM that no intent knows has its name or its address.
    OrphanInTheWay {
        /// Which, and what to do about it.
        message: String,
    },
    /// Changes that are taken at the next start.
    RestartRequired {
        /// They.
        changes: Vec<FieldChange>,
    },
    /// Changes that wait for a person's word.
    ConfirmationRequired {
        /// They.
        changes: Vec<FieldChange>,
    },
    /// Disks that it had are gone. They are made anew only on a person's word.
    DiskMissing {
        /// What that word would do.
        changes: Vec<FieldChange>,
    },
    /// The file system of the state directory fills up.
    DiskPressure {
        /// What is left of it.
        left: Quantity,
        /// How much has to be left for it to go on.
        needed: Quantity,
    },
    /// The root disk is smaller than the image.
    RootDiskTooSmall {
        /// How large it must be at least.
        message: String,
    },
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// For the host as a whole, before everything else.
    pub host: Vec<HostStep>,
    /// For the tap pool; it runs beside the VMs, and they don't wait for it.
    pub pool: Option<HostStep>,
    /// For the ballast; nobody waits for it either.
    pub ballast: Option<HostStep>,
    /// For images; they run beside the VMs.
    pub images: Vec<ImageStep>,
    /// For VMs: teardowns first, then demotions, then the rest.
    pub vms: Vec<VmPlan>,
    /// What is wanted and not done now.
    pub waiting: Vec<Waiting>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.host.is_empty()
            && self.pool.is_none()
            && self.ballast.is_none()
            && self.images.is_empty()
            && self.vms.is_empty()
    }
}
