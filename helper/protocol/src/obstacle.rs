//! A rule of somebody else's that keeps guests' packets from being forwarded.

use serde::{Deserialize, Serialize};

/// What stands in the way, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Obstacle {
    /// Whose it is.
    pub firewall: Firewall,
    /// Which packets it drops.
    pub way: Way,
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

/// Packets of a connection that a guest begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the guest.
    Out,
    /// The answers.
    Back,
}
