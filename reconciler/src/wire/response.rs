//! What the daemon answers.

use banger_core::api::status::Object;
use banger_core::api::{Kind, Name};
use banger_core::diff::DiffReport;
use banger_core::inventory::{InventoryReport, Left, Removal};
use banger_core::problem::Problem;
use banger_core::trash::TrashedDocument;
use banger_protocol::{DiskRole, VmUid};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sandbox::Landlock;

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "response",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Response {
    /// To `Version`.
    Version {
        /// The daemon's.
        daemon: String,
        /// The helper's protocol, or why it can't be told.
        helper: Result<String, String>,
        /// Whether this daemon runs on the simulated host.
        simulated: bool,
        /// What confines this daemon. None from one that is older than the field.
        #[serde(default)]
        landlock: Option<Landlock>,
    },
    /// To `List` and `Watch`: all that match, by name.
    Objects {
        /// They.
        objects: Vec<Object>,
        /// Documents that are not accepted.
        problems: Vec<Problem>,
    },
    /// To `Diff`.
    Diff {
        /// What would happen.
        report: Box<DiffReport>,
    },
    /// To `Sync`.
    Synced {
        /// Every object that the directories declare, with the generation that was admitted.
        admitted: Vec<Admitted>,
        /// Documents that are not accepted.
        problems: Vec<Problem>,
    },
    /// To `Trash`, oldest first.
    Trash {
        /// All entries.
        entries: Vec<TrashItem>,
    },
    /// To `Prune`.
    Pruned {
        /// The objects that go now.
        objects: Vec<(Kind, Name)>,
    },
    /// To `Events`.
    Event {
        /// One.
        event: Event,
    },
    /// To `Inventory`.
    Inventory {
        /// The list.
        report: Box<InventoryReport>,
    },
    /// To `Collect`.
    Collected {
        /// What went, and what didn't.
        collected: Collected,
    },
    /// It is done.
    Done {},
    /// It can't be done.
    Error {
        /// For programs; decides the exit code.
        code: Code,
        /// What failed, on which object, why.
        message: String,
        /// What to do.
        remedy: Option<String>,
    },
}

impl Response {
    /// Whether nothing follows it, for a request that doesn't follow or watch.
    pub const fn is_last(&self) -> bool {
        !matches!(self, Self::Event { .. })
    }
}

/// An admitted object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admitted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// Its uid.
    pub uid: banger_protocol::VmUid,
    /// The generation.
    pub generation: u64,
}

/// An entry of the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrashItem {
    /// Names the entry.
    pub id: String,
    /// The VM's uid.
    pub uid: VmUid,
    /// The VM's name, where it is known.
    pub name: Option<Name>,
    /// The one disk that was replaced; none where the VM went as a whole.
    pub disk: Option<DiskRole>,
    /// The disks in it.
    pub disks: Vec<DiskRole>,
    /// What it takes of the file system, bytes.
    pub taken: u64,
    /// When it got here.
    pub trashed: Timestamp,
    /// It goes for good after so much more of the daemon's running time.
    pub expires_in_seconds: u64,
    /// The VM's document, where the VM can be had back.
    pub document: Option<TrashedDocument>,
    /// Why its description can't be read; then nothing else is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// What a collection did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Nothing was removed: this is what would be.
    pub dry_run: bool,
    /// Step by step.
    pub removed: Vec<Removal>,
    /// What stays, and why.
    pub left: Vec<Left>,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// No such object.
    NotFound,
    /// It can't be done as things are (wrong state, a document still declares it).
    Conflict,
    /// The request is wrong.
    Invalid,
    /// The daemon failed.
    Internal,
}

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Grows by one with each event.
    pub id: u64,
    /// When it happened last.
    pub time: Timestamp,
    /// How often in a row.
    pub count: u32,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// `Normal` or `Warning`.
    pub severity: Severity,
    /// One word in CamelCase.
    pub reason: String,
    /// For a person.
    pub message: String,
}

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody may have to look.
    Warning,
}
