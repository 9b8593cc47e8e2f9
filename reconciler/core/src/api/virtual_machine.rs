//! `kind: VirtualMachine`: one microVM as its owner wants it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cidr, Name, Quantity};

/// The desired VM, as written. What is left out gets its default once, when
/// the VM is first admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualMachineSpec {
    /// The name of an `Image`.
    pub image: Name,
    /// When the VM runs; default `Always`, or `defaults.runPolicy` of config.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_policy: Option<RunPolicy>,
    /// Processors, 1 to 32 (Firecracker's limit); default 1, or `defaults.vcpus` of
    /// config.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub vcpus: Option<u8>,
    /// Memory, whole MiB, 64Mi (less doesn't boot) to 1Ti; default 512Mi, or
    /// `defaults.memory` of config.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// The root disk: copy-on-write over the image, replaced when the image
    /// changes. Whole MiB, 64Mi to 2Ti; default 4Gi, or `defaults.rootDisk` of
    /// config.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_disk: Option<DiskSpec>,
    /// A disk mounted at `/root`; it survives replacement of the root disk.
    /// Whole MiB, 16Mi to 2Ti; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_disk: Option<DiskSpec>,
    /// The guest's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSpec>,
    /// Keys that may log in as root, beside the owner's own banger key: lines of
    /// `.pub` files, without options. At most 64 keys and 96 KiB together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(regex(
            pattern = r"^[ \t]*(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)[ \t]+[A-Za-z0-9+/]+={0,2}([ \t].*)?$"
        ))
    )]
    pub ssh_authorized_keys: Vec<String>,
    /// Files of the owner's that the guest is given, at each start and as soon as
    /// this list changes; at most 32 of them, and 48 KiB together. One that is
    /// taken off the list stays in the guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub file_sync: Vec<FileSync>,
    /// Environment of logins (`/etc/environment`). Values are one line each; at
    /// most 256 variables and 32 KiB together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 256,
        "propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties" = {"type": "string", "pattern": "^[^\\u0000-\\u0008\\u000a-\\u001f\\u007f]*$"}
    ))]
    pub env: BTreeMap<String, String>,
    /// When changes that need a restart are taken; default `OnNextBoot`, or
    /// `defaults.updatePolicy` of config.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<UpdatePolicy>,
    /// How long a guest gets to stop by itself, 0 to 3600 s; default 30, or
    /// `defaults.terminationGracePeriodSeconds` of config.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 3600))]
    pub termination_grace_period_seconds: Option<u32>,
}

/// When a VM runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunPolicy {
    /// It is started again whenever it ends.
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
    /// At once, by a restart; one VM at a time.
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
    /// Whether the guest may reach beyond the host; default true, or `defaults.nat`
    /// of config.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat: Option<bool>,
    /// Ports of the host that lead into the guest, at most 64; a host port only
    /// once for each protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ports: Vec<Port>,
    /// What the guest may begin connections with; default everything. Answers
    /// always pass, also those to a published port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressSpec>,
}

/// What a guest may begin connections with, and nothing else: beyond the host,
/// among guests, and with the host's DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressSpec {
    /// Networks, at most 32, and 1024 of all VMs together, of which 512 may be
    /// IPv6; none: nothing. Of a family of which none is named nothing is
    /// allowed. The host's DNS only if the bridge's IPv4 address is in one of them.
    #[schemars(length(max = 32))]
    pub allow: Vec<Cidr>,
}

/// A port of the host that leads into the guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// Port of the host, 1024 to 65535 (those below are for root).
    #[schemars(range(min = 1024, max = 65535))]
    pub host: u16,
    /// Port of the guest, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub guest: u16,
    /// The transport protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// The host's address to bind; default 127.0.0.1. Another one lets others
    /// in, such as 0.0.0.0: whoever reaches the host over IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("pattern" = "^[0-9A-Fa-f:.]+$"))]
    pub address: Option<IpAddr>,
}

impl Port {
    /// Where the host listens: on 127.0.0.1 unless the spec says otherwise.
    pub fn bind(&self) -> SocketAddr {
        let address = self.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        SocketAddr::new(address, self.host)
    }
}

/// `8080->80`, `5353->53/udp`, `0.0.0.0:8080->80`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(_) => write!(f, "{}", self.bind())?,
            None => write!(f, "{}", self.host)?,
        }
        write!(f, "->{}", self.guest)?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
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

impl Protocol {
    /// As documents write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A file of the owner's that the guest is given. It is root's there, with the
/// owner's permission bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSync {
    /// The owner's file: `~/` and its path below the home directory. Links are
    /// followed as long as they stay there. What is in `~/.ssh` needs
    /// `fileSync.allowSsh` in config.toml; banger's own keys are nobody's.
    #[schemars(regex(pattern = r"^~/.+"))]
    pub source: String,
    /// Where it goes in the guest, absolute.
    #[schemars(regex(pattern = r"^/.+"))]
    pub path: String,
}
