//! A rule of somebody else's that keeps guests' packets from where they are to go.

use serde::{Deserialize, Serialize};

use crate::version::{HOST_OUTPUT, OBSTACLES};

/// What stands in the way, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Obstacle {
    /// Whose it is.
    pub firewall: Firewall,
    /// Which packets it drops.
    pub way: Way,
    /// Over which protocol.
    #[serde(default, skip_serializing_if = "Family::is_ipv4")]
    pub family: Family,
    /// Our bridge, whose packets it drops.
    pub bridge: String,
    /// The table, as nft(8) names it: `ip filter`.
    pub table: String,
    /// The chain that decides.
    pub chain: String,
    /// The rule's handle; `None`: the chain's policy.
    pub rule: Option<u64>,
}

/// Who keeps such rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firewall {
    /// Docker, which sets the policy of FORWARD to drop.
    Docker,
    /// ufw.
    Ufw,
    /// firewalld.
    Firewalld,
    /// Nobody that is known.
    Other,
}

impl Obstacle {
    /// Whether a peer of this minor version knows of such.
    pub const fn is_known_to(&self, minor: u16) -> bool {
        minor
            >= match (self.way, self.family) {
                (Way::Guest, _) => HOST_OUTPUT,
                (Way::Host, _) | (_, Family::Ipv6) => OBSTACLES,
                (Way::Out | Way::Back, Family::Ipv4) => 0,
            }
    }
}

/// The protocol of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_ipv4(&self) -> bool {
        *self == Self::Ipv4
    }
}

/// Where packets of guests, or for them, are on their way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the guest, beyond the host.
    Out,
    /// The answers.
    Back,
    /// From the guest to the host itself: over IPv4 a question to its DNS server,
    /// over IPv6 one for its link-layer address (RFC 4861).
    Host,
    /// From the host itself to the guest: over IPv4 the first of a connection to
    /// its SSH server, over IPv6 the answer to such a question.
    Guest,
}
