//! `kind: VirtualMachine`: one microVM as its owner wants it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Name, Quantity};

/// The desired VM, as written. What is left out gets its default when the spec
/// is admitted, once; see [`crate::intent::VmSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualMachineSpec {
    /// The name of an `Image`.
    pub image: Name,
    /// When the VM runs; default `Always`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_policy: Option<RunPolicy>,
    /// Processors, 1 to 32 (Firecracker's limit); default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u8>,
    /// Memory; default 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// The root disk: copy-on-write over the image, replaced when the image changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_disk: Option<DiskSpec>,
    /// A disk mounted at `/root`; it survives replacement of the root disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_disk: Option<DiskSpec>,
    /// The guest's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSpec>,
    /// Keys that may log in as root, beside the owner's own banger key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Files of the owner's to keep in the guest. Not supported yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_sync: Vec<FileSync>,
    /// Environment of logins (`/etc/environment`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// When changes that need a restart are taken; default `OnNextBoot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<UpdatePolicy>,
    /// How long a guest gets to stop by itself, 0 to 3600 s; default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<u32>,
}

/// When a VM runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunPolicy {
    /// Always: it is started again whenever it ends.
    Always,
    /// Until it ends well: started again only after a failure.
    OnFailure,
    /// Never.
    Halted,
}

/// When a change that needs a restart is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdatePolicy {
    /// At the next start; until then the condition `RestartRequired` stands.
    OnNextBoot,
    /// At once, by a restart.
    Auto,
}

/// A disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskSpec {
    /// Its size; space is taken only as it is written.
    pub size: Quantity,
}

/// The guest's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// Whether the guest may reach beyond the host; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat: Option<bool>,
    /// Ports of the host that lead into the guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// A port of the host that leads into the guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// Port of the host, 1024 to 65535.
    pub host: u16,
    /// Port of the guest.
    pub guest: u16,
    /// Default tcp; udp is not supported yet.
    #[serde(default)]
    pub protocol: Protocol,
    /// The host's address to bind; default 127.0.0.1. Others are not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// A transport protocol.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A file of the owner's to keep in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSync {
    /// The owner's file, under the home directory.
    pub source: String,
    /// Where it goes in the guest, absolute.
    pub path: String,
}
