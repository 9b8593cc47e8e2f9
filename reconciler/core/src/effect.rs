//! What a change does to a VM: one function that `diff` shows and the plan obeys.

use banger_protocol::DiskRole;
use serde::{Deserialize, Serialize};

/// The effects, from the mildest to the gravest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Taken at once; the guest doesn't notice.
    Live,
    /// Taken at the next start.
    Restart,
    /// The root disk is made anew; the old one goes to the trash. Held until confirmed.
    ReplaceRoot,
    /// Something that the guest wrote is lost. Held until confirmed.
    LosesData,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field, such as `spec.vcpus`.
    pub field: String,
    /// As it is; empty where it wasn't set.
    pub from: String,
    /// As it is wanted; empty where it goes.
    pub to: String,
    /// What taking it does.
    pub effect: Effect,
    /// The disk that it replaces, for the two effects that are held.
    pub disk: Option<DiskRole>,
}
