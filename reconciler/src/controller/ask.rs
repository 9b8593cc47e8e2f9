//! What clients ask of the loop, and its answers.

use std::path::PathBuf;
use std::sync::Arc;

use banger_core::api::bounds::PREVENT_DELETION;
use banger_core::api::{Kind, Name, prevents_deletion};
use banger_core::diff::DiffReport;
use banger_core::intent::{Deletion, Intents, PowerOverride, VmIntent};
use banger_core::inventory::InventoryReport;
use banger_core::problem::Problem;
use banger_core::seam::Host;
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::collect::Collect;
use super::heartbeat::Heartbeat;
use super::ledger::{Ledger, State};
use super::prune::Pruning;
use super::publish::Published;
use super::run::Controller;
use crate::store::{NewEvent, StoreError};
use crate::wire::request::{OverlayFile, Power};
use crate::wire::response::{Admitted, Code, Collected, Event, Severity, TrashItem};

/// Why a request isn't carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// What failed, on which object, why.
    pub message: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Refusal {
    pub(super) fn conflict(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code: Code::Conflict,
            message: message.into(),
            remedy: Some(remedy.into()),
        }
    }

    pub(crate) fn not_found(kind: Kind, name: &Name) -> Self {
        Self {
            code: Code::NotFound,
            message: format!("there is no {} `{name}`", kind.short()),
            remedy: Some(format!("see `banger get {}s`", kind.short())),
        }
    }

    fn closed() -> Self {
        Self {
            code: Code::Internal,
            message: "the daemon is stopping".into(),
            remedy: Some("try again in a moment".into()),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let cause = std::error::Error::source(&error);
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        Self {
            code: Code::Internal,
            message: format!("{error}{cause}"),
            remedy: Some(
                "see that the disk of the state directory isn't full and can be written".into(),
            ),
        }
    }
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// What `Sync` answers: the objects that are declared, and the documents that
/// aren't accepted.
pub type Synced = (Vec<Admitted>, Vec<Problem>);

/// A request to the loop.
#[derive(Debug)]
pub enum Ask {
    /// What would happen.
    Diff(Vec<OverlayFile>, Answer<DiffReport>),
    /// Read and admit now.
    Sync(Answer<Synced>),
    /// Stop, start, restart.
    Power(Name, Power, Answer<()>),
    /// Confirm what is held: changes that replace the root disk, changes that lose data.
    Confirm(Name, Confirm, Answer<()>),
    /// Delete, and whether disks are removed at once.
    Delete(Kind, Name, bool, Answer<()>),
    /// What lies in the trash.
    Trash(Answer<Vec<TrashItem>>),
    /// Remove these entries of the trash.
    EmptyTrash(Vec<String>, Answer<()>),
    /// Take this entry's VM back with its next document.
    Undelete(String, Answer<()>),
    /// Leave this entry's VM where it is after all.
    LeaveInTrash(String, Answer<()>),
    /// Call a VM otherwise with its next document.
    Rename(Name, Name, Answer<()>),
    /// Confirm the deletions that are held, of objects of these directories;
    /// and whether there was a wait for documents that may yet come back.
    Prune(Vec<PathBuf>, bool, Answer<Pruning>),
    /// What the host holds against what is intended.
    Inventory(Answer<InventoryReport>),
    /// Remove what nobody needs.
    Collect(Collect, Answer<Collected>),
}

/// What a person confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// Changes that replace the root disk.
    pub replace_root: bool,
    /// Changes that lose data.
    pub allow_data_loss: bool,
}

/// The way to the loop. Clones share it.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) published: watch::Receiver<Arc<Published>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) heartbeat: Heartbeat,
}

impl Handle {
    /// Status, now and whenever it changes.
    pub fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }

    /// Events so far, oldest first, and those to come.
    pub async fn events(
        &self,
        object: Option<(Kind, Name)>,
    ) -> Result<(Vec<Event>, broadcast::Receiver<Event>), Refusal> {
        Ok(self.ledger.events(object).await?)
    }

    /// What would happen if these files were as they are given.
    pub async fn diff(&self, overlay: Vec<OverlayFile>) -> Result<DiffReport, Refusal> {
        self.ask(|answer| Ask::Diff(overlay, answer)).await
    }

    /// Reads and admits now; answers once that is saved.
    pub async fn sync(&self) -> Result<Synced, Refusal> {
        self.ask(Ask::Sync).await
    }

    /// Stops, starts or restarts a VM; answers once that is saved.
    pub async fn power(&self, name: Name, power: Power) -> Result<(), Refusal> {
        self.ask(|answer| Ask::Power(name, power, answer)).await
    }

    /// Confirms what is held; answers once that is saved.
    pub async fn confirm(&self, name: Name, confirm: Confirm) -> Result<(), Refusal> {
        self.ask(|answer| Ask::Confirm(name, confirm, answer)).await
    }

    /// Marks an object for deletion; answers once that is saved.
    pub async fn delete(&self, kind: Kind, name: Name, purge: bool) -> Result<(), Refusal> {
        self.ask(|answer| Ask::Delete(kind, name, purge, answer))
            .await
    }

    /// What lies in the trash, oldest first.
    pub async fn trash(&self) -> Result<Vec<TrashItem>, Refusal> {
        self.ask(Ask::Trash).await
    }

    /// Removes entries of the trash for good; answers once they are gone.
    pub async fn empty_trash(&self, ids: Vec<String>) -> Result<(), Refusal> {
        self.ask(|answer| Ask::EmptyTrash(ids, answer)).await
    }

    /// Has the next document of an entry's name bring back its VM; answers
    /// once that is saved.
    pub async fn undelete(&self, id: String) -> Result<(), Refusal> {
        self.ask(|answer| Ask::Undelete(id, answer)).await
    }

    /// Takes an undeletion back; answers once that is saved.
    pub async fn leave_in_trash(&self, id: String) -> Result<(), Refusal> {
        self.ask(|answer| Ask::LeaveInTrash(id, answer)).await
    }

    /// Has a document of the new name be this VM's; its own name takes that
    /// back. Answers once that is saved.
    pub async fn rename(&self, name: Name, to: Name) -> Result<(), Refusal> {
        self.ask(|answer| Ask::Rename(name, to, answer)).await
    }

    /// Confirms the deletions that the mass guard holds, of objects that were
    /// declared in these directories; answers which, once that is saved.
    pub async fn prune(&self, directories: Vec<PathBuf>) -> Result<Vec<(Kind, Name)>, Refusal> {
        let mut waited = false;
        loop {
            let directories = directories.clone();
            let asked = self.ask(|answer| Ask::Prune(directories, waited, answer));
            match asked.await? {
                Pruning::Done(confirmed) => return Ok(confirmed),
                Pruning::Wait(time) => tokio::time::sleep(time).await,
            }
            waited = true;
        }
    }

    /// What the host holds against what is intended.
    pub async fn inventory(&self) -> Result<InventoryReport, Refusal> {
        self.ask(Ask::Inventory).await
    }

    /// Removes what nobody needs; answers once that is done.
    pub async fn collect(&self, collect: Collect) -> Result<Collected, Refusal> {
        self.ask(|answer| Ask::Collect(collect, answer)).await
    }

    /// What tells that the loop moves on.
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    async fn ask<T>(&self, make: impl FnOnce(Answer<T>) -> Ask) -> Result<T, Refusal> {
        let (answer, receive) = oneshot::channel();
        let sent = self.asks.send(make(answer)).await;
        sent.map_err(|_| Refusal::closed())?;
        receive.await.map_err(|_| Refusal::closed())?
    }
}

impl<H: Host> Controller<H> {
    /// Answers a request, or has it answered beside the loop where that takes
    /// longer than a write. `true`: a pass is called for.
    pub(super) async fn answer(&mut self, ask: Ask) -> bool {
        // Whoever asked may have hung up; what was asked for is done all the same.
        match ask {
            Ask::Diff(overlay, answer) => {
                self.begin_diff(overlay, answer).await;
                return false;
            }
            Ask::Trash(answer) => {
                self.begin_trash(answer);
                return false;
            }
            Ask::Inventory(answer) => {
                self.begin_inventory(answer);
                return false;
            }
            Ask::Collect(collect, answer) => {
                self.begin_collect(collect, answer);
                return false;
            }
            Ask::EmptyTrash(ids, answer) => {
                self.empty_trash(&ids, answer).await;
                return false;
            }
            Ask::Undelete(id, answer) => {
                let _ = answer.send(self.undelete(&id).await);
            }
            Ask::LeaveInTrash(id, answer) => {
                let _ = answer.send(self.leave_in_trash(&id).await);
            }
            Ask::Rename(name, to, answer) => {
                let _ = answer.send(self.rename(&name, to).await);
            }
            Ask::Prune(directories, waited, answer) => {
                let _ = answer.send(self.prune(&directories, waited).await);
            }
            Ask::Sync(answer) => {
                let reading = self.read(Vec::new()).await;
                let admitted = self.admit(&reading).await;
                let problems = self.latest.admission.problems.clone();
                let synced = admitted.map(|admitted| (admitted, problems));
                let _ = answer.send(synced.map_err(Refusal::from));
            }
            Ask::Power(name, power, answer) => {
                let _ = answer.send(self.power(&name, power).await);
            }
            Ask::Confirm(name, confirm, answer) => {
                let _ = answer.send(self.confirm(&name, confirm).await);
            }
            Ask::Delete(kind, name, purge, answer) => {
                let _ = answer.send(self.delete(kind, &name, purge).await);
            }
        }
        true
    }

    async fn power(&mut self, name: &Name, power: Power) -> Result<(), Refusal> {
        let vm = self.live_vm(name).await?;
        let (reason, message) = match power {
            Power::Stop => ("StopRequested", "`banger vm stop`"),
            Power::Start => ("StartRequested", "`banger vm start`"),
            Power::Restart => ("RestartRequested", "a restart was asked for"),
        };
        let event = event(Kind::VirtualMachine, name, reason, message);
        let change = |vm: &mut VmIntent, _: &Intents| match power {
            Power::Stop => vm.power = PowerOverride::Stopped,
            Power::Start => start(vm),
            Power::Restart => {
                start(vm);
                vm.restart_token += 1;
            }
        };
        self.ledger.change_vm(vm.uid, vec![event], change).await?;
        Ok(())
    }

    async fn delete(&mut self, kind: Kind, name: &Name, purge: bool) -> Result<(), Refusal> {
        let state = self.ledger.state().await;
        let metadata = match kind {
            Kind::VirtualMachine => state.intents.vm(name).map(|vm| &vm.metadata),
            Kind::Image => state.intents.image(name).map(|image| &image.metadata),
        };
        let metadata = metadata.ok_or_else(|| Refusal::not_found(kind, name))?;
        if prevents_deletion(&metadata.annotations) {
            return Err(Refusal::conflict(
                format!(
                    "{} `{name}` carries the annotation {PREVENT_DELETION}",
                    kind.short()
                ),
                "take the annotation out of its document, let that be admitted, then delete it",
            ));
        }
        self.refuse_declared(kind, name).await?;
        let now = Timestamp::now();
        let mark = |deletion: &mut Option<Deletion>| {
            let timestamp = deletion.as_ref().map_or(now, |old| old.timestamp);
            let purge = purge || deletion.as_ref().is_some_and(|old| old.purge);
            *deletion = Some(Deletion {
                timestamp,
                explicit: true,
                purge,
            });
        };
        let marked = event(kind, name, "Deleting", "it was deleted");
        self.ledger
            .replace(|state| {
                let mut intents = Intents::clone(&state.intents);
                match kind {
                    Kind::VirtualMachine => {
                        let vm = intents.vms.values_mut().find(|vm| vm.name() == name);
                        vm.into_iter().for_each(|vm| mark(&mut vm.deletion));
                    }
                    Kind::Image => {
                        let image = intents.images.values_mut().find(|one| one.name() == name);
                        image.into_iter().for_each(|one| mark(&mut one.deletion));
                    }
                }
                let next = State {
                    intents: Arc::new(intents),
                    ..state.clone()
                };
                (next, vec![marked], ())
            })
            .await?;
        Ok(())
    }

    /// A VM that isn't on its way out.
    pub(super) async fn live_vm(&self, name: &Name) -> Result<VmIntent, Refusal> {
        let state = self.ledger.state().await;
        let vm = state.intents.vm(name).cloned();
        let vm = vm.ok_or_else(|| Refusal::not_found(Kind::VirtualMachine, name))?;
        if vm.deletion.is_some() {
            return Err(Refusal::conflict(
                format!("vm `{name}` is being deleted"),
                "wait until it is gone; a document of that name then makes a new one",
            ));
        }
        Ok(vm)
    }
}

/// On, as far as a person can say so: back-offs end, too.
fn start(vm: &mut VmIntent) {
    let halted = vm.spec.run_policy == banger_core::api::virtual_machine::RunPolicy::Halted;
    vm.power = if halted {
        PowerOverride::Started
    } else {
        PowerOverride::None
    };
    vm.completed = false;
    vm.crash.not_before_ms = 0;
    vm.error.not_before_ms = 0;
}

pub(super) fn event(kind: Kind, name: &Name, reason: &'static str, message: &str) -> NewEvent {
    NewEvent {
        kind,
        name: name.to_string(),
        severity: Severity::Normal,
        reason,
        message: message.to_owned(),
    }
}
