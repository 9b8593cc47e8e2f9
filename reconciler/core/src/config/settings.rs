//! What the file may hold.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use banger_protocol::{PoolSize, Ula, WarmUps};
use ipnet::{Ipv4Net, Ipv6Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Disk, Ipv6, VmDefaults};
use crate::api::Quantity;
use crate::plan::PoolTarget;

/// The owner's configuration of banger. A change is taken when `bangerd` starts again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The guests' network.
    pub network: Network,
    /// Names of VMs.
    pub dns: Dns,
    /// How much may be done and taken.
    pub limits: Limits,
    /// Taps that are made before a VM asks.
    pub pool: Pool,
    /// What a new VM gets where its document is silent. Pinned when the VM is
    /// first admitted: a change here changes no VM that exists.
    pub defaults: VmDefaults,
    /// Where documents are read from.
    pub directories: Directories,
    /// Disks of VMs that went.
    pub trash: Trash,
    /// What is done as the disk fills up.
    pub disk: Disk,
    /// Files of the owner's that guests may be given.
    pub file_sync: OwnFiles,
}

/// The guests' network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// The guests' subnet. The installation decides it, and for now this may
    /// only repeat it: a part of it is not supported yet. Default: the installation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub subnet: Option<Ipv4Net>,
    /// `"off"`, or the guests' IPv6 prefix, a /64 of unique local addresses
    /// (fc00::/7) such as `"fd12:3456:789a:1::/64"`. The installation decides
    /// that (`banger system install --subnet6`), and this may only repeat it.
    /// A guest that runs gets it with its next start, and loses it at once.
    /// Default: the installation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ipv6: Option<Ipv6>,
    /// Whether guests reach one another. A change takes hold of running guests
    /// as soon as the daemon has started again; they go on running.
    pub guest_to_guest: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            subnet: None,
            ipv6: None,
            guest_to_guest: true,
        }
    }
}

impl Network {
    /// The guests' IPv6 prefix, of an installation with this one; `None`: they
    /// have no IPv6.
    ///
    /// # Errors
    /// What the configuration has instead.
    pub fn ula(&self, installed: Ula) -> Result<Option<Ula>, Ipv6Net> {
        match self.ipv6 {
            Some(Ipv6::Off) => Ok(None),
            Some(Ipv6::Prefix(other)) if other != installed.get() => Err(other),
            Some(Ipv6::Prefix(_)) | None => Ok(Some(installed)),
        }
    }
}

/// Names of VMs: a server on the bridge answers `<vm>.vm` to the host and to
/// guests, and asks other servers for everything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Dns {
    /// Whether the server runs. Without it guests ask the host's own servers,
    /// where those can be reached over IPv4, and VMs have no names.
    pub enabled: bool,
    /// Servers that are asked for everything but VMs, at most 3, such as
    /// `["192.0.2.53"]`. Default: the host's own, as they are at the time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub upstreams: Vec<IpAddr>,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            enabled: true,
            upstreams: Vec::new(),
        }
    }
}

/// How much may be done and taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// VMs that are acted on at the same time, 1 to 16; more only make a
    /// host's disk busier.
    #[schemars(range(min = 1, max = 16))]
    pub max_concurrent_actions: u8,
    /// Memory of the host that VMs leave alone: a VM that would go into it isn't started.
    pub memory_headroom: Quantity,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_actions: 2,
            memory_headroom: Quantity::from_mib(256),
        }
    }
}

/// Taps that are made before a VM asks, and kept when one gives its tap back:
/// to delete a tap costs the kernel far more than to clean it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pool {
    /// Taps that are kept warm, 0 to 64; none at 0. Of those that VMs give back as
    /// many again are kept.
    #[schemars(range(max = 64))]
    pub taps: u8,
    /// Taps that are made at the same time, 1 to 16.
    #[schemars(range(min = 1, max = 16))]
    pub max_concurrent_tap_warmup: u8,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            taps: 4,
            max_concurrent_tap_warmup: 4,
        }
    }
}

impl Pool {
    /// As plans need it; `None` where it is out of bounds, which
    /// [`super::parse`] refuses.
    pub fn target(&self) -> Option<PoolTarget> {
        Some(PoolTarget {
            size: PoolSize::try_from(self.taps).ok()?,
            parallel: WarmUps::try_from(self.max_concurrent_tap_warmup).ok()?,
        })
    }
}

/// Where documents are read from. Either may hold both kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Directories {
    /// Of VMs; relative to the directory of this file, `~/` is the home directory.
    pub vms: PathBuf,
    /// Of images, likewise.
    pub images: PathBuf,
    /// They are read at least so often, in seconds, 1 to 3600, even where no
    /// change was announced (network file systems announce none).
    #[schemars(range(min = 1, max = 3600))]
    pub resync_seconds: u32,
}

impl Default for Directories {
    fn default() -> Self {
        Self {
            vms: "vms".into(),
            images: "images".into(),
            resync_seconds: 60,
        }
    }
}

/// Files of the owner's that guests may be given (`spec.fileSync`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OwnFiles {
    /// Whether those in `~/.ssh` are among them. Documents come from anywhere;
    /// a private key in a guest is its root's to take.
    pub allow_ssh: bool,
}

/// Disks of VMs that went, or that were replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Trash {
    /// They are kept for so many days, 1 to 3650, of the daemon's running time:
    /// weeks without power don't count, nor does a clock that is set.
    #[schemars(range(min = 1, max = 3650))]
    pub keep_days: u16,
}

impl Default for Trash {
    fn default() -> Self {
        Self { keep_days: 7 }
    }
}

impl Config {
    /// What holds where there is no file; `file` is where it would be.
    pub fn without_file(file: &Path, home: &Path) -> Self {
        Self::default().resolved(file, home)
    }

    /// The effective configuration, as TOML.
    ///
    /// # Errors
    /// A path that isn't UTF-8.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }

    /// With absolute directories.
    pub(super) fn resolved(mut self, file: &Path, home: &Path) -> Self {
        let beside = file.parent().unwrap_or(Path::new("/"));
        for path in [&mut self.directories.vms, &mut self.directories.images] {
            *path = match path.strip_prefix("~") {
                Ok(rest) => home.join(rest),
                Err(_) => beside.join(&*path),
            };
        }
        self
    }
}
