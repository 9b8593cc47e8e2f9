//! Disks as the kernel sees them.

use serde::{Deserialize, Serialize};

/// What a loop device is for. It is written into the loop's file name field
/// as `banger/<uid>/<role>`, which only root can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskRole {
    /// The image's root file system: read-only, below the snapshot.
    Base,
    /// The copy-on-write store of the root disk.
    Cow,
    /// The work disk.
    Work,
}

impl DiskRole {
    /// The word that stands in tags and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Cow => "cow",
            Self::Work => "work",
        }
    }

    /// Whether the kernel must refuse writes to it.
    pub const fn read_only(self) -> bool {
        matches!(self, Self::Base)
    }
}

/// The `N` of `/dev/loopN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LoopNumber(pub u32);

impl LoopNumber {
    /// `/dev/loopN`.
    pub fn path(self) -> String {
        format!("/dev/loop{}", self.0)
    }
}

/// A length in sectors of 512 bytes, device-mapper's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sectors(pub u64);

impl Sectors {
    /// Bytes rounded down to whole sectors.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes / 512)
    }

    /// The length in bytes.
    pub const fn bytes(self) -> u64 {
        self.0 * 512
    }
}
