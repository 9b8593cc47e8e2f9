//! What the host and the guest agent say to each other over vsock.
//!
//! Frames as in banger's other wires: a big-endian `u32` length and that many
//! bytes of JSON, at most [`MAX_FRAME`]. The guest is hostile to the host and
//! the host bounds everything it reads; the agent trusts the host.
//!
//! ```text
//! boot:  agent -> host  CONFIG_PORT   Boot::Hello           host answers GuestConfig
//!        agent -> host  CONFIG_PORT   Boot::Ready | Boot::Failed | Boot::Leaving   (no answer but an empty object)
//! later: host  -> agent AGENT_PORT    AgentRequest          agent answers AgentResponse
//! ```
//!
//! Every message to the host has a connection of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

pub mod base64;
pub mod frame;
#[cfg(test)]
mod tests;

/// Where the daemon listens (`v.sock_1024` beside Firecracker's vsock socket).
pub const CONFIG_PORT: u32 = 1024;
/// Where the agent listens in the guest.
pub const AGENT_PORT: u32 = 1024;
/// The longest frame either side reads.
pub const MAX_FRAME: usize = 256 * 1024;

/// From the agent to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Boot {
    /// "Who am I?", before root is mounted; repeated until answered.
    Hello {
        /// The agent's version.
        agent: String,
    },
    /// The image's init runs and, where the image has an SSH server, it answers.
    Ready {
        /// Public host keys in `authorized_keys` form, to pin.
        #[serde(rename = "hostKeys")]
        host_keys: Vec<String>,
        /// Whether an SSH server answered.
        ssh: bool,
        /// As in [`Readiness`]. A guest that was given no IPv6 doesn't name
        /// it, for a host that is older than that.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ipv6: Vec<Ipv6Addr>,
    },
    /// The boot can't go on.
    Failed {
        /// What the agent was doing, for a person.
        stage: String,
        /// Why it failed.
        message: String,
    },
    /// The guest is about to end of its own accord: nobody asked the agent to
    /// shut down. Its file systems are unmounted by then; the VMM ends right
    /// after, whichever it was. Only a guest under systemd says it.
    Leaving {
        /// How.
        how: Leaving,
    },
}

/// How a guest ends of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaving {
    /// `poweroff` or `halt` in the guest.
    Poweroff,
    /// `reboot` in the guest.
    Reboot,
}

/// Everything that is different from guest to guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestConfig {
    /// The VM's name.
    pub hostname: String,
    /// The uid of the VM, a UUID; written as the machine id without hyphens.
    pub uid: String,
    /// The guest's address.
    pub address: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// The default route.
    pub gateway: Ipv4Addr,
    /// Its part of the IPv6 network. `None`: it has none, or the host is older
    /// than that. An older agent doesn't look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<GuestIpv6>,
    /// For resolv.conf.
    pub nameservers: Vec<Ipv4Addr>,
    /// Search domain for resolv.conf: `vm`.
    pub search: Vec<String>,
    /// Whether there is a `/dev/vdb`, to be mounted at `/root`.
    pub work_disk: bool,
    /// Lines for `/root/.ssh/authorized_keys`; other lines there stay.
    pub authorized_keys: Vec<String>,
    /// For `/etc/environment`.
    pub env: BTreeMap<String, String>,
    /// Files to write, root-owned, by absolute path.
    pub files: Vec<GuestFile>,
    /// The host's wall clock, nanoseconds since the epoch.
    pub now_ns: u64,
}

/// A guest's part of the IPv6 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestIpv6 {
    /// The guest's address.
    pub address: Ipv6Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// The default route.
    pub gateway: Ipv6Addr,
}

/// A small file to be written in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestFile {
    /// Absolute path in the guest.
    pub path: String,
    /// Its bytes, as base64 (RFC 4648, padded).
    pub base64: String,
    /// Permission bits.
    pub mode: u32,
}

impl GuestFile {
    /// A file from its bytes.
    pub fn new(path: impl Into<String>, content: &[u8], mode: u32) -> Self {
        Self {
            path: path.into(),
            base64: base64::encode(content),
            mode,
        }
    }

    /// Its bytes, or `None` where [`Self::base64`] isn't base64.
    pub fn content(&self) -> Option<Vec<u8>> {
        base64::decode(&self.base64)
    }
}

/// What a guest that is ready says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Public host keys in `authorized_keys` form, to pin.
    pub host_keys: Vec<String>,
    /// Whether an SSH server answered.
    pub ssh: bool,
    /// The IPv6 addresses of its interface that others than its neighbours can
    /// reach. An older agent names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<Ipv6Addr>,
}

/// From the host to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AgentRequest {
    /// Is the agent there?
    Ping,
    /// Stop services, sync, unmount, then end the machine by a reboot
    /// (with `reboot=k` that ends Firecracker; a poweroff only halts the guest).
    Shutdown {
        /// After so many seconds the agent forces it: sync, read-only remount, reboot.
        #[serde(rename = "graceSeconds")]
        grace_seconds: u32,
    },
    /// Sets the guest's clock.
    SetClock {
        /// Nanoseconds since the epoch.
        #[serde(rename = "nowNs")]
        now_ns: u64,
    },
    /// Replaces banger's authorized keys (a live change).
    SetAuthorizedKeys {
        /// All of them.
        keys: Vec<String>,
    },
    /// Writes files (a live change). An older agent doesn't know it.
    SetFiles {
        /// All of them; others stay as they are.
        files: Vec<GuestFile>,
    },
}

/// From the agent to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AgentResponse {
    /// Done, or under way.
    Ok,
    /// To `Ping`.
    Pong {
        /// The agent's version.
        agent: String,
        /// Seconds since the guest's boot.
        #[serde(rename = "uptimeSeconds")]
        uptime_seconds: u64,
        /// What `Boot::Ready` said, once it is so: for a daemon that started later.
        #[serde(default)]
        ready: Option<Readiness>,
    },
    /// It can't.
    Error {
        /// Why, for a person.
        message: String,
    },
}
