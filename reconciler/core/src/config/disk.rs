//! What is done as the disk fills up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Quantity;
use crate::pressure::DiskLimits;

/// What is done as the file system of the state directory fills up: guests'
/// disks are sparse, and a guest whose write fails may lose its disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Disk {
    /// Below so much free space no disk is made and no image imported, whole
    /// MiB; 0 for never.
    pub pause_creates_below: Quantity,
    /// Below so much free space running guests are paused, whole MiB, no more
    /// than `pauseCreatesBelow`; 0 for never. Guests can write for a second or
    /// two before it is seen.
    pub pause_guests_below: Quantity,
    /// Either ends once there is so much more than that, whole MiB, from 1Mi.
    pub hysteresis: Quantity,
    /// A file of this size, whole MiB, at most 64Gi, is kept in the state
    /// directory and given up while guests are paused, so that banger can
    /// still write; 0 for none. It doesn't count as free space.
    pub ballast: Quantity,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            pause_creates_below: Quantity::from_mib(2048),
            pause_guests_below: Quantity::from_mib(512),
            hysteresis: Quantity::from_mib(256),
            ballast: Quantity::from_mib(256),
        }
    }
}

impl Disk {
    /// As plans need it.
    pub const fn limits(&self) -> DiskLimits {
        DiskLimits {
            creates: self.pause_creates_below,
            guests: self.pause_guests_below,
            hysteresis: self.hysteresis,
            ballast: self.ballast,
        }
    }
}
