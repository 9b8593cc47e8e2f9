//! Durable intent: what each object *is*, with every choice made and pinned.
//!
//! Nothing in here says what the host holds; that is [`crate::observed`].

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use banger_protocol::{Cidrs, DiskRole, Slot, VmUid};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::virtual_machine::{FileSync, Port, RunPolicy, UpdatePolicy};
use crate::api::{ImageSpec, Metadata, Name, Quantity, VirtualMachineSpec};

/// A VM's spec in canonical form: every default filled in. Two documents that
/// mean the same are equal here, and only a difference here moves the generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VmSpec {
    /// The image's name.
    pub image: Name,
    /// When it runs.
    pub run_policy: RunPolicy,
    /// Processors.
    pub vcpus: u8,
    /// Memory, whole MiB.
    pub memory: Quantity,
    /// Size of the root disk.
    pub root_disk: Quantity,
    /// Size of the work disk, where there is one.
    pub work_disk: Option<Quantity>,
    /// Whether the guest may reach beyond the host.
    pub nat: bool,
    /// Published ports, sorted.
    pub ports: Vec<Port>,
    /// What the guest may begin connections with; `None`: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Cidrs>,
    /// Keys that may log in.
    pub ssh_authorized_keys: Vec<String>,
    /// The owner's files that the guest is given, by their paths there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_sync: Vec<FileSync>,
    /// Environment of logins.
    pub env: BTreeMap<String, String>,
    /// When changes that need a restart are taken.
    pub update_policy: UpdatePolicy,
    /// How long a guest gets to stop by itself, seconds.
    pub termination_grace_period_seconds: u32,
}

/// The identity of an imported image: 64 hexadecimal digits of SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageDigest(pub String);

/// What a VM was given once and keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// The number that the rest follows from.
    pub slot: Slot,
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The guest's MAC.
    pub mac: [u8; 6],
}

/// What the VMM was last started with, and what its disks were made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The spec.
    pub spec: VmSpec,
    /// Its generation.
    pub generation: u64,
    /// The image that the root disk was made over.
    pub image: ImageDigest,
    /// The value of [`VmIntent::restart_token`] that this start honoured.
    pub restart_token: u64,
}

/// Whether a person asked for something beside the spec. Bound to the uid;
/// a changed `runPolicy` clears it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PowerOverride {
    /// Nothing: the run policy decides.
    #[default]
    None,
    /// `vm stop`: stays off until `vm start`.
    Stopped,
    /// `vm start`: on, although the run policy says `Halted`.
    Started,
}

/// A change that a person confirmed: only this, and only for this VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirmation {
    /// The disk that may be replaced.
    pub disk: DiskRole,
    /// What it may be replaced with, as [`crate::effect`] words it.
    pub change: String,
}

/// Why and how an object goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// When it was marked.
    pub timestamp: Timestamp,
    /// A person asked for it by name; otherwise its document vanished.
    pub explicit: bool,
    /// Disks are removed instead of going to the trash.
    pub purge: bool,
}

/// A document, as a person wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenDocument {
    /// The file.
    pub file: PathBuf,
    /// The document's own text; the whole file's where it holds nothing else.
    pub text: String,
}

/// A start of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The host's boot id.
    pub boot_id: String,
    /// Boot clock, milliseconds.
    pub boot_ms: u64,
}

/// A run of failures, and when the next try is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// Failures in a row.
    pub failures: u32,
    /// Not before this reading of the boot clock, milliseconds.
    pub not_before_ms: u64,
}

/// One VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmIntent {
    /// Unique over time.
    pub uid: VmUid,
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// Counts the changes of `spec`.
    pub generation: u64,
    /// What is wanted.
    pub spec: VmSpec,
    /// The document's own spec, defaults left out: a default that was pinned
    /// stays pinned for as long as the document leaves its field out.
    pub written: VirtualMachineSpec,
    /// What runs, or ran last; `None` before the first start.
    pub applied: Option<Applied>,
    /// What it was given.
    pub allocation: Allocation,
    /// The image that it is pinned to; `None` until its image is there for the first time.
    pub image: Option<ImageDigest>,
    /// `vm stop`, `vm start`.
    pub power: PowerOverride,
    /// Grows with every `vm restart` and `apply --restart`.
    pub restart_token: u64,
    /// Confirmed disk changes.
    pub confirmations: Vec<Confirmation>,
    /// Set once it is to go.
    pub deletion: Option<Deletion>,
    /// Its disks may lie in the trash: they come back before anything is made anew.
    #[serde(default)]
    pub restoring: bool,
    /// `banger rename`: a document of this name that appears where the old
    /// one's is gone is this VM's.
    #[serde(default)]
    pub renaming: Option<Name>,
    /// Its document as it was last accepted; kept so that it can be put back.
    #[serde(default)]
    pub document: Option<WrittenDocument>,
    /// When and in which boot of the host the guest was last started.
    pub started: Option<Started>,
    /// The guest announced its end and the run policy is content with that.
    pub completed: bool,
    /// The VMM ended by itself so many times; when it may start again.
    pub crash: Backoff,
    /// Actions failed so many times; when they may be tried again.
    pub error: Backoff,
    /// When it was first admitted.
    pub created: Timestamp,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIntent {
    /// Unique over time.
    pub uid: VmUid,
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// Counts the changes of `spec`.
    pub generation: u64,
    /// What is wanted, paths made absolute.
    pub spec: ImageSpec,
    /// What generation was imported, and as what.
    pub imported: Option<Imported>,
    /// Set once it is to go.
    pub deletion: Option<Deletion>,
    /// Imports failed so many times.
    pub error: Backoff,
    /// When it was first admitted.
    pub created: Timestamp,
}

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// The generation of the spec that was imported.
    pub generation: u64,
    /// Its identity.
    pub digest: ImageDigest,
    /// Size of its root file system.
    pub rootfs: Quantity,
}

impl Applied {
    /// Whether both tell of the same start, apart from what changes while it runs.
    pub fn is_same_start(&self, other: &Self) -> bool {
        let mut other = other.clone();
        other.follow(&self.spec);
        let (now, told) = (&self.spec, &mut other.spec);
        told.ssh_authorized_keys
            .clone_from(&now.ssh_authorized_keys);
        told.file_sync.clone_from(&now.file_sync);
        other == *self
    }

    /// Takes over what is in force as soon as it is admitted: nothing of it is
    /// given to the guest or to Firecracker.
    pub fn follow(&mut self, wanted: &VmSpec) {
        let now = &mut self.spec;
        now.run_policy = wanted.run_policy;
        now.update_policy = wanted.update_policy;
        now.nat = wanted.nat;
        now.egress.clone_from(&wanted.egress);
        now.ports.clone_from(&wanted.ports);
        now.termination_grace_period_seconds = wanted.termination_grace_period_seconds;
    }
}

impl VmIntent {
    /// The name.
    pub const fn name(&self) -> &Name {
        &self.metadata.name
    }

    /// Whether it is made from this imported image, or its root disk lies over it.
    pub fn needs(&self, digest: &ImageDigest) -> bool {
        let applied = self.applied.as_ref().map(|applied| &applied.image);
        self.image.as_ref() == Some(digest) || applied == Some(digest)
    }

    /// Whether it ran and is to run again with the root disk that it had: then
    /// that must be somewhere. One that was to be replaced may be in the trash
    /// by itself already, and the new one not yet made.
    pub fn keeps_its_root_disk(&self) -> bool {
        let replaced = |it: &Confirmation| it.disk == DiskRole::Cow;
        self.applied.is_some()
            && self.deletion.is_none()
            && !self.confirmations.iter().any(replaced)
    }
}

impl ImageIntent {
    /// The name.
    pub const fn name(&self) -> &Name {
        &self.metadata.name
    }
}

/// Everything that is intended, by uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intents {
    /// VMs.
    pub vms: BTreeMap<VmUid, VmIntent>,
    /// Images.
    pub images: BTreeMap<VmUid, ImageIntent>,
}

impl Intents {
    /// The image of this name.
    pub fn image(&self, name: &Name) -> Option<&ImageIntent> {
        self.images.values().find(|image| image.name() == name)
    }

    /// Whether an image or a VM needs this imported image.
    pub fn needs(&self, digest: &ImageDigest) -> bool {
        let by_vm = self.vms.values().any(|vm| vm.needs(digest));
        let by_image = self.images.values().any(|image| {
            let imported = image.imported.as_ref();
            imported.is_some_and(|imported| imported.digest == *digest)
        });
        by_vm || by_image
    }

    /// The VM of this name.
    pub fn vm(&self, name: &Name) -> Option<&VmIntent> {
        self.vms.values().find(|vm| vm.name() == name)
    }
}
