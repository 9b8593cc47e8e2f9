//! What a client may ask.

use std::collections::BTreeSet;
use std::path::PathBuf;

use banger_core::api::{Kind, Name};
use banger_protocol::VmUid;
use serde::{Deserialize, Serialize};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "request",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Request {
    /// Versions of the daemon and of the helper as the daemon sees it.
    Version {},
    /// All objects of a kind, or one. Answers `Objects`.
    List {
        /// The kind.
        kind: Kind,
        /// Only this one; answers `Error` with [`super::response::Code::NotFound`] where it isn't.
        name: Option<Name>,
    },
    /// As `List`, then `Objects` again whenever something of it changed, until the client hangs up.
    Watch {
        /// The kind.
        kind: Kind,
        /// Only this one; one that isn't there (yet, or any more) gives an empty list.
        name: Option<Name>,
    },
    /// What would happen. Answers `Diff`.
    Diff {
        /// Files as they would be: these texts stand in for what the directory
        /// holds at these paths. Empty: the directory as it is.
        overlay: Vec<OverlayFile>,
    },
    /// Reads the directories now and admits what they hold. Answers `Synced`
    /// once that is done, before anything is acted on.
    Sync {},
    /// Events, oldest first. Answers `Event`s, then `Done` unless followed.
    Events {
        /// Only of this object.
        object: Option<(Kind, Name)>,
        /// Go on with new ones.
        follow: bool,
    },
    /// `vm stop`, `start`, `restart`. Answers `Done` once it is durable.
    Power {
        /// The VM.
        name: Name,
        /// What.
        power: Power,
    },
    /// Confirms what `diff` shows as held for this VM now. Answers `Done`.
    Confirm {
        /// The VM.
        name: Name,
        /// Its changes that replace the root disk.
        replace_root: bool,
        /// Its changes that lose data.
        allow_data_loss: bool,
    },
    /// What the host holds, object by object, against what is intended.
    /// Answers `Inventory`.
    Inventory {},
    /// Removes what is banger's and what no intent knows, and images that nothing
    /// needs. Answers `Collected` once that is done.
    Collect {
        /// Only say what would go.
        dry_run: bool,
        /// VMs without intent that may go although their VMM runs.
        orphans: BTreeSet<VmUid>,
    },
    /// Deletes an object whose document is already out of the directory (the
    /// client sees to that). Answers `Done` once it is durable.
    Delete {
        /// The kind.
        kind: Kind,
        /// The object.
        name: Name,
        /// Disks are removed instead of going to the trash.
        purge: bool,
    },
    /// What lies in the trash. Answers `Trash`.
    Trash {},
    /// Removes entries of the trash for good. Answers `Done`.
    EmptyTrash {
        /// Their ids.
        ids: Vec<String>,
    },
    /// Has the next document of an entry's name bring back its VM, with its
    /// uid and its disks (the client puts the document back). Answers `Done`
    /// once that is durable.
    Undelete {
        /// The entry.
        id: String,
    },
    /// Takes an `Undelete` back whose document could not be written. Answers
    /// `Done` once that is durable.
    LeaveInTrash {
        /// The entry.
        id: String,
    },
    /// Has a document of the new name, that appears where the old one's is
    /// gone, be this same VM's (the client edits the document). Answers `Done`
    /// once that is durable.
    Rename {
        /// The VM.
        name: Name,
        /// What it is to be called; its own name takes a former `Rename` back.
        to: Name,
    },
    /// Confirms the deletions that the mass guard holds, of objects that were
    /// declared in these directories. Answers `Pruned`.
    Prune {
        /// Absolute.
        directories: Vec<PathBuf>,
    },
}

/// A durable operation beside the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// Off until `Start`.
    Stop,
    /// On.
    Start,
    /// Off and on again, with the spec as it is now.
    Restart,
}

/// A file as it would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlayFile {
    /// Absolute path.
    pub path: PathBuf,
    /// Its text; `None`: the file is gone.
    pub text: Option<String>,
}
