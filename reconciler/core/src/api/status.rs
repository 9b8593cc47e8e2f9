//! Status as people read it: conditions and the object that `get -o yaml` prints.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use banger_protocol::VmUid;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ImageSpec, Kind, Name, VirtualMachineSpec};

/// One aspect of an object's state (Kubernetes API conventions, "Conditions").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Accepted`, `Ready`, `RestartRequired`, …
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word in CamelCase, for programs.
    pub reason: String,
    /// One or more lines for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The generation that was evaluated.
    pub observed_generation: u64,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
}

/// The conditions that there are.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ConditionType {
    /// The document as it stands now is what banger works from.
    Accepted,
    /// VM: the guest runs and answers. Image: it can be booted.
    Ready,
    /// VM: nothing of the host's keeps its packets from being forwarded.
    NetworkReady,
    /// A change waits for the next start.
    RestartRequired,
    /// A change waits for a confirmation, because it replaces a disk or loses data.
    ConfirmationRequired,
    /// The image that the VM was made from has been edited since.
    UpdateAvailable,
    /// The file is gone, but the deletion isn't safe to carry out yet.
    DeletionHeld,
    /// The file system of the state directory fills up, and this waits for room.
    DiskPressure,
    /// The object is on its way out.
    Terminating,
}

/// Three values, as in Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It doesn't.
    False,
    /// It can't be told.
    Unknown,
}

/// The one word of the STATUS column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not begun: something is missing (an image, memory, a valid spec).
    Pending,
    /// An image is being imported.
    Importing,
    /// Disks, network and VMM are being made.
    Creating,
    /// The guest boots.
    Booting,
    /// The guest answers (image: it can be booted).
    Ready,
    /// The VMM runs, but the agent doesn't answer.
    NotReady,
    /// The guest stands still, because there is no room for what it writes.
    Paused,
    /// Being shut down.
    Stopping,
    /// Not running, as wanted.
    Stopped,
    /// An action failed; it is tried again.
    Failed,
    /// The VMM ended by itself; it waits to be started again.
    CrashLoopBackOff,
    /// On its way out.
    Deleting,
    /// Something could not be observed.
    Unknown,
}

/// An object as `get -o yaml` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// `banger.dev/v1alpha1`.
    pub api_version: String,
    /// Its kind.
    pub kind: Kind,
    /// Metadata with what banger adds.
    pub metadata: ObjectMeta,
    /// The spec that was last accepted, defaults filled in.
    pub spec: ObjectSpec,
    /// What is.
    pub status: ObjectStatus,
}

/// Metadata with what banger adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    /// The name.
    pub name: Name,
    /// Unique over time: a successor of the same name has another one.
    #[schemars(with = "String")]
    pub uid: VmUid,
    /// Counts the changes of the spec.
    pub generation: u64,
    /// Labels as written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations as written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// When it was first admitted.
    pub creation_timestamp: Timestamp,
    /// When it was marked for deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Timestamp>,
    /// The file that declares it.
    pub source: Option<PathBuf>,
}

/// The spec of either kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ObjectSpec {
    /// Of a VM.
    VirtualMachine(Box<VirtualMachineSpec>),
    /// Of an image.
    Image(Box<ImageSpec>),
}

/// What is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// One word.
    pub phase: Phase,
    /// The generation that this status is about.
    pub observed_generation: u64,
    /// All of them, by type.
    pub conditions: Vec<Condition>,
    /// VMs: addresses and paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<VmRuntime>,
    /// VMs: what the kernel holds for it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handles: Option<VmHandles>,
    /// Images, and VMs that are pinned to one: `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Images: progress of the import in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
}

/// Durable: what was allocated for a VM, and the paths that follow from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmRuntime {
    /// The guest's address.
    pub guest_ip: Ipv4Addr,
    /// The guest's IPv6 address, while the guest has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_ip6: Option<Ipv6Addr>,
    /// The guest's MAC.
    pub mac: String,
    /// The guest's vsock CID.
    pub vsock_cid: u32,
    /// `<name>.vm`.
    pub dns_name: String,
    /// The VM's directory.
    pub vm_dir: PathBuf,
    /// The serial console's log.
    pub serial_log: PathBuf,
    /// Firecracker's API socket.
    pub api_socket: PathBuf,
    /// Firecracker's vsock socket.
    pub vsock_socket: PathBuf,
    /// Known hosts file for SSH, once the guest reported its keys.
    pub known_hosts: PathBuf,
    /// The last error of an action, if the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How often the VMM has ended by itself since the spec last changed.
    pub restarts: u32,
}

/// Never durable: what the kernel holds for a VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmHandles {
    /// Firecracker's pid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Field 22 of `/proc/<pid>/stat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<u64>,
    /// Boot id of the host that these handles are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The tap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap: Option<String>,
    /// The loop over the image, `/dev/loopN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_loop: Option<String>,
    /// The loop over the copy-on-write store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cow_loop: Option<String>,
    /// The loop over the work disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_loop: Option<String>,
    /// The dm name of the root disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dm_name: Option<String>,
    /// Its node, `/dev/dm-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dm_device: Option<String>,
}
