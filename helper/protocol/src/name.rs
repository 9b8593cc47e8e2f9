//! The identity of a VM, and the names of host objects that follow from it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The uid of a `VirtualMachine`: a UUID (version 7), written in lower case
/// with hyphens. It names the VMM (`--id`), its unit and its dm devices.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VmUid(Uuid);

impl VmUid {
    /// Takes a UUID as a VM's uid.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The device-mapper name of the root disk: `banger-<uid>-root`.
    pub fn dm_root(self) -> String {
        format!("banger-{self}-root")
    }

    /// The device-mapper name of the snapshot's origin: `banger-<uid>-origin`.
    pub fn dm_origin(self) -> String {
        format!("banger-{self}-origin")
    }

    /// The device-mapper UUID that proves ownership: `BANGER-<uid>-<part>`.
    pub fn dm_uuid(self, part: &str) -> String {
        format!("BANGER-{self}-{part}")
    }

    /// The transient systemd unit of the VMM.
    pub fn unit(self) -> String {
        format!("banger-vm-{self}.service")
    }
}

impl fmt::Display for VmUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for VmUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text isn't a UUID.
#[derive(Debug, thiserror::Error)]
#[error("not a VM uid: expected a UUID such as 0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f")]
pub struct NotAUid(#[source] uuid::Error);

impl FromStr for VmUid {
    type Err = NotAUid;

    fn from_str(s: &str) -> Result<Self, NotAUid> {
        Uuid::try_parse(s).map(Self).map_err(NotAUid)
    }
}
