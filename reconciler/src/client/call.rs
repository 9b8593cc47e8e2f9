//! The requests as functions: one connection each, the answer checked for its kind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use banger_core::api::status::Object;
use banger_core::api::{Kind, Name};
use banger_core::diff::DiffReport;
use banger_core::inventory::InventoryReport;
use banger_core::problem::Problem;
use banger_protocol::VmUid;

use super::{CallError, Connection};
use crate::sandbox::Landlock;
use crate::wire::request::{OverlayFile, Power};
use crate::wire::response::{Admitted, Collected, Event, TrashItem};
use crate::wire::{Request, Response};

/// How long a plain question may take. Reading the directories and admitting
/// thousands of documents is a matter of seconds even on a slow disk; a start
/// by socket activation comes on top.
const PATIENCE: Duration = Duration::from_secs(60);

/// After how long somebody who waits is told so. systemd's socket takes requests
/// of a daemon that doesn't start, too.
const SILENCE: Duration = Duration::from_secs(3);

/// What `Version` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The daemon's.
    pub daemon: String,
    /// The helper's protocol, or why it can't be told.
    pub helper: Result<String, String>,
    /// Whether the daemon runs on the simulated host.
    pub simulated: bool,
    /// What confines the daemon, where it tells.
    pub landlock: Option<Landlock>,
}

/// Objects and the documents that are not accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// All that match, by name.
    pub objects: Vec<Object>,
    /// Documents that are not accepted.
    pub problems: Vec<Problem>,
}

/// What `Sync` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Every object that the directories declare.
    pub admitted: Vec<Admitted>,
    /// Documents that are not accepted.
    pub problems: Vec<Problem>,
}

/// The daemon behind a socket.
#[derive(Clone, Debug)]
pub struct Daemon {
    socket: PathBuf,
    silent: fn(),
}

impl Daemon {
    /// The daemon that listens here. Nothing is connected yet.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            silent: || (),
        }
    }

    /// With something to do where a plain question isn't answered at once: once
    /// for each, after three seconds.
    #[must_use]
    pub const fn when_silent(mut self, silent: fn()) -> Self {
        self.silent = silent;
        self
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Versions of daemon and helper.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn version(&self) -> Result<Versions, CallError> {
        match self.ask(&Request::Version {})? {
            Response::Version {
                daemon,
                helper,
                simulated,
                landlock,
            } => Ok(Versions {
                daemon,
                helper,
                simulated,
                landlock,
            }),
            other => Err(out_of_place(&other)),
        }
    }

    /// All objects of a kind, or one.
    ///
    /// # Errors
    /// See [`CallError`]; `NotFound` where the one isn't there.
    pub fn list(&self, kind: Kind, name: Option<&Name>) -> Result<Listing, CallError> {
        let request = Request::List {
            kind,
            name: name.cloned(),
        };
        match self.ask(&request)? {
            Response::Objects { objects, problems } => Ok(Listing { objects, problems }),
            other => Err(out_of_place(&other)),
        }
    }

    /// One object.
    ///
    /// # Errors
    /// See [`CallError`]; `NotFound` where it isn't there.
    pub fn one(&self, kind: Kind, name: &Name) -> Result<Object, CallError> {
        self.list(kind, Some(name))?
            .objects
            .into_iter()
            .find(|object| &object.metadata.name == name)
            .ok_or(CallError::OutOfPlace("objects"))
    }

    /// Opens a watch.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn watch(&self, kind: Kind, name: Option<&Name>) -> Result<super::Watch, CallError> {
        let request = Request::Watch {
            kind,
            name: name.cloned(),
        };
        Ok(super::Watch::new(Connection::open(&self.socket, &request)?))
    }

    /// What would happen if these files were so.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn diff(&self, overlay: Vec<OverlayFile>) -> Result<DiffReport, CallError> {
        match self.ask(&Request::Diff { overlay })? {
            Response::Diff { report } => Ok(*report),
            other => Err(out_of_place(&other)),
        }
    }

    /// Has the directories read and admitted now.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn sync(&self) -> Result<Synced, CallError> {
        match self.ask(&Request::Sync {})? {
            Response::Synced { admitted, problems } => Ok(Synced { admitted, problems }),
            other => Err(out_of_place(&other)),
        }
    }

    /// Hands every event to `each`, oldest first; with `follow` it only comes
    /// back when the daemon hangs up or `each` says so by `false`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn events(
        &self,
        object: Option<(Kind, Name)>,
        follow: bool,
        mut each: impl FnMut(Event) -> bool,
    ) -> Result<(), CallError> {
        let mut connection = Connection::open(&self.socket, &Request::Events { object, follow })?;
        let deadline = (!follow).then(|| Instant::now() + PATIENCE);
        loop {
            match connection.receive(deadline)?.ok_or(CallError::HungUp)? {
                Response::Event { event } => {
                    if !each(event) {
                        return Ok(());
                    }
                }
                Response::Done {} => return Ok(()),
                other => return Err(out_of_place(&other)),
            }
        }
    }

    /// `vm stop`, `start`, `restart`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn power(&self, name: &Name, power: Power) -> Result<(), CallError> {
        self.done(&Request::Power {
            name: name.clone(),
            power,
        })
    }

    /// Confirms what is held for a VM.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn confirm(
        &self,
        name: &Name,
        replace_root: bool,
        allow_data_loss: bool,
    ) -> Result<(), CallError> {
        self.done(&Request::Confirm {
            name: name.clone(),
            replace_root,
            allow_data_loss,
        })
    }

    /// Deletes an object that no document declares any more.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn delete(&self, kind: Kind, name: &Name, purge: bool) -> Result<(), CallError> {
        self.done(&Request::Delete {
            kind,
            name: name.clone(),
            purge,
        })
    }

    /// What lies in the trash, oldest first.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn trash(&self) -> Result<Vec<TrashItem>, CallError> {
        match self.ask(&Request::Trash {})? {
            Response::Trash { entries } => Ok(entries),
            other => Err(out_of_place(&other)),
        }
    }

    /// What the host holds against what is intended.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn inventory(&self) -> Result<InventoryReport, CallError> {
        match self.ask(&Request::Inventory {})? {
            Response::Inventory { report } => Ok(*report),
            other => Err(out_of_place(&other)),
        }
    }

    /// Removes entries of the trash for good.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn empty_trash(&self, ids: Vec<String>) -> Result<(), CallError> {
        self.done(&Request::EmptyTrash { ids })
    }

    /// Has the next document of the entry's name bring back its VM.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn undelete(&self, id: &str) -> Result<(), CallError> {
        self.done(&Request::Undelete { id: id.to_owned() })
    }

    /// Takes an undeletion back whose document could not be written.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn leave_in_trash(&self, id: &str) -> Result<(), CallError> {
        self.done(&Request::LeaveInTrash { id: id.to_owned() })
    }

    /// Has a document of the new name be this VM's; its own name takes that back.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn rename(&self, name: &Name, to: &Name) -> Result<(), CallError> {
        self.done(&Request::Rename {
            name: name.clone(),
            to: to.clone(),
        })
    }

    /// Confirms the deletions that are held, of objects of these directories.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn prune(&self, directories: Vec<PathBuf>) -> Result<Vec<(Kind, Name)>, CallError> {
        match self.ask(&Request::Prune { directories })? {
            Response::Pruned { objects } => Ok(objects),
            other => Err(out_of_place(&other)),
        }
    }

    /// Has removed what nobody needs, or only says what would be. Each orphan's
    /// guest may take its grace period, so this has no deadline.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn collect(&self, dry_run: bool, orphans: BTreeSet<VmUid>) -> Result<Collected, CallError> {
        let request = Request::Collect { dry_run, orphans };
        let mut connection = Connection::open(&self.socket, &request)?;
        match connection.receive(None)?.ok_or(CallError::HungUp)? {
            Response::Collected { collected } => Ok(collected),
            other => Err(out_of_place(&other)),
        }
    }

    fn done(&self, request: &Request) -> Result<(), CallError> {
        match self.ask(request)? {
            Response::Done {} => Ok(()),
            other => Err(out_of_place(&other)),
        }
    }

    fn ask(&self, request: &Request) -> Result<Response, CallError> {
        let start = Instant::now();
        let mut connection = Connection::open(&self.socket, request)?;
        let first = connection.receive(Some(start + SILENCE));
        match first {
            Err(CallError::TimedOut) => {
                (self.silent)();
                connection.receive(Some(start + PATIENCE))
            }
            answer => answer,
        }?
        .ok_or(CallError::HungUp)
    }
}

pub(super) const fn out_of_place(response: &Response) -> CallError {
    CallError::OutOfPlace(match response {
        Response::Version { .. } => "version",
        Response::Objects { .. } => "objects",
        Response::Diff { .. } => "diff",
        Response::Synced { .. } => "synced",
        Response::Trash { .. } => "trash",
        Response::Pruned { .. } => "pruned",
        Response::Event { .. } => "event",
        Response::Inventory { .. } => "inventory",
        Response::Collected { .. } => "collected",
        Response::Done {} => "done",
        Response::Error { .. } => "error",
    })
}
