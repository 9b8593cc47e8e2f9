//! The protocol's version: a newer minor only adds, another major can't talk.

use serde::{Deserialize, Serialize};

/// What this build speaks.
pub const CURRENT: Version = Version { major: 1, minor: 6 };

/// The first minor that knows the tap pool: `ensure-pool`, and its section of
/// the inventory.
pub const TAP_POOL: u16 = 1;

/// The first minor that knows egress policies and guests apart: fields of
/// `ensure-nat`, and two sections of the inventory.
pub const NETWORK_POLICY: u16 = 2;

/// The first minor that knows IPv6: fields of `ensure-bridge` and `ensure-nat`,
/// IPv6 networks in egress policies, and a section of the inventory.
pub const IPV6: u16 = 3;

/// The first minor that knows obstacles over IPv6 and on the way to the host.
pub const OBSTACLES: u16 = 4;

/// The first minor that knows obstacles on the way from the host to guests, and
/// tables of iptables-legacy.
pub const HOST_OUTPUT: u16 = 5;

/// The first minor that tells whose file a VMM's program is. Since then nobody can
/// wait for a VMM's end by the helper any more, which no daemon has ever done.
pub const EXECUTABLE: u16 = 6;

/// `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Peers with different majors refuse each other.
    pub major: u16,
    /// A higher minor knows more operations, more of their fields and more
    /// sections of the inventory, and keeps them from a peer that doesn't; nothing else changes.
    pub minor: u16,
}
