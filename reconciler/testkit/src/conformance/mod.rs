//! What every host behind the seam must do: the same cases for the simulated
//! one and for a real kernel, so that the one can't drift from the other.
//!
//! ```text
//! [`Bench`] (an imported image, two VMs' intents) -> each [`Case`] -> clean up
//! ```
//!
//! A case is a [`Rule`], tried on a [`Part`] of what a host makes: a host that
//! lacks what one part needs is held to the rules of the others all the same.
//!
//! Assumes that nobody else acts on the bench's VMs. A case leaves nothing of
//! them, whether it held or not; others' objects on the host don't matter to it.

mod case;
mod part;
mod trial;

use banger_core::intent::{ImageDigest, VmIntent};
use banger_protocol::Sectors;

pub use case::{Case, Rule};
pub use part::{Need, Part};

/// What the cases work on.
#[derive(Clone, Debug)]
pub struct Bench {
    /// An image that the host has imported.
    pub image: ImageDigest,
    /// The size of root disks; at least the image's.
    pub size: Sectors,
    /// Two VMs, pinned to the image, that the host holds nothing of.
    pub vms: [VmIntent; 2],
}
