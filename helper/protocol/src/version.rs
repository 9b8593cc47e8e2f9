//! The protocol's version: a newer minor only adds, another major can't talk.

use serde::{Deserialize, Serialize};

/// What this build speaks.
pub const CURRENT: Version = Version { major: 1, minor: 0 };

/// `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Peers with different majors refuse each other.
    pub major: u16,
    /// A higher minor knows more operations; nothing else changes.
    pub minor: u16,
}
