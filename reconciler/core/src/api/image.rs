//! `kind: Image`: what a VM boots.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Quantity;

/// The desired image. It is imported once; what the paths hold later changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// Where the root file system comes from: exactly one source.
    pub rootfs: RootfsSource,
    /// The kernel; default: the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<FileSource>,
    /// The kernel's modules, a directory; default: `/lib/modules/<release>` of that kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<FileSource>,
    /// An initrd of one's own, without banger's agent: its VMs run, and are never Ready;
    /// default: the boot initrd that banger makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<FileSource>,
    /// The file system that work disks are cloned from. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_seed: Option<WorkSeed>,
}

/// The sources of a root file system. Exactly one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RootfsSource {
    /// A raw ext4 file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<FileSource>,
    /// A root file system as a tar, a `docker save`, or an OCI layout. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<FileSource>,
    /// An image in a registry. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// Steps on top of another image. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildSource>,
}

/// A file of the owner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSource {
    /// Absolute, or relative to the file that declares the image; `~/` is the owner's home.
    #[schemars(length(min = 1, max = 4095), regex(pattern = r"^([^~$]|~/)"))]
    pub path: String,
    /// What the content must hash to, 64 hexadecimal digits. Not for directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9A-Fa-f]{64}$"))]
    pub sha256: Option<String>,
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciSource {
    /// Such as `docker.io/library/debian:12`.
    pub reference: String,
}

/// Steps on top of another image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildSource {
    /// The name of the other image.
    pub from: String,
    /// Commands, in order.
    pub steps: Vec<BuildStep>,
}

/// One command of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildStep {
    /// A line for `/bin/sh -c`.
    pub run: String,
}

/// The file system that work disks are cloned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkSeed {
    /// Its size.
    pub size: Quantity,
}
