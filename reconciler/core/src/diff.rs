//! What `diff` and `apply --dry-run` show: the difference between what is
//! applied and what is desired, with the effect of each change.

use serde::{Deserialize, Serialize};

use crate::api::{Kind, Name};
use crate::effect::{Effect, FieldChange};
use crate::problem::Problem;

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffReport {
    /// Objects that differ, by kind and name.
    pub entries: Vec<DiffEntry>,
    /// Documents that can't be accepted.
    pub problems: Vec<Problem>,
}

/// One object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffEntry {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// What would happen to it.
    pub change: Change,
    /// The gravest effect.
    pub effect: Effect,
    /// Fields that differ, for `Modify`.
    pub fields: Vec<FieldChange>,
    /// The spec as applied, YAML; empty for `Create`.
    pub before: String,
    /// The spec as desired, YAML; empty for `Delete`.
    pub after: String,
    /// What would be done now, in order, for a person: `create: the VM isn't running`.
    pub actions: Vec<String>,
    /// What has to happen before the rest is done: `banger apply --restart …`.
    pub waits_for: Option<String>,
}

/// What would happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is new.
    Create,
    /// It is changed.
    Modify,
    /// It goes.
    Delete,
    /// Its document stands as it did, but the host doesn't hold it as it should.
    Repair,
}

impl DiffReport {
    /// Whether nothing would happen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
