//! Images: imports beside the VMs' chains, and tidying up after them.

use std::collections::BTreeSet;
use std::sync::Arc;

use banger_core::api::Kind;
use banger_core::intent::{ImageIntent, Intents};
use banger_core::outcome;
use banger_core::plan::{ImageStep, Plan};
use banger_core::seam::{Host, StepError};
use banger_protocol::VmUid;
use tokio::task::{AbortHandle, JoinError};

use super::board::{Board, chain_of};
use super::clock::BootClock;
use super::ledger::Ledger;
use super::run::Controller;
use crate::store::{NewEvent, StoreError};
use crate::wire::response::Severity;

/// Imports at a time: they are bound by the disk.
const MAX_IMPORTS: usize = 2;

/// An import that runs.
#[derive(Debug)]
pub(super) struct Importing {
    generation: u64,
    task: AbortHandle,
}

impl<H: Host> Controller<H> {
    pub(super) fn begin_images(&mut self, plan: &Plan, intents: &Intents, busy: &BTreeSet<VmUid>) {
        for (uid, importing) in &self.importing {
            let image = intents.images.get(uid);
            let wanted = image.is_some_and(|image| {
                image.deletion.is_none() && image.generation == importing.generation
            });
            if !wanted {
                // An import can be cut short at any point, as by a crash.
                importing.task.abort();
            }
        }
        // What a collection removes may be the very image that an import would make.
        let may_import = !self.collecting.values().any(|it| it.images);
        let mut tidy = Vec::new();
        for step in &plan.images {
            match step {
                ImageStep::Import { uid, .. } => {
                    let free =
                        may_import && self.importing.len() < MAX_IMPORTS && !busy.contains(uid);
                    if let Some(image) = intents.images.get(uid)
                        && free
                    {
                        self.begin_import(image.clone());
                    }
                }
                step => tidy.push(step.clone()),
            }
        }
        if !tidy.is_empty() && self.tidying.is_empty() {
            let (host, ledger) = (Arc::clone(&self.host), Arc::clone(&self.ledger));
            let board = Arc::clone(&self.board);
            self.tidying.spawn(async move {
                if let Err(error) = tidy_up(&*host, &ledger, &board, tidy).await {
                    tracing::warn!("an image could not be removed: {}", chain_of(&error));
                    return false;
                }
                true
            });
        }
    }

    fn begin_import(&mut self, image: ImageIntent) {
        let (uid, generation) = (image.uid, image.generation);
        let (host, ledger) = (Arc::clone(&self.host), Arc::clone(&self.ledger));
        let (board, clock) = (Arc::clone(&self.board), self.clock.clone());
        self.board.import_at(uid, 0);
        let task = self.imports.spawn(async move {
            let written = import(&*host, &ledger, &board, &clock, &image).await;
            if let Err(error) = written {
                tracing::error!("the outcome of an import could not be saved: {error}");
            }
            uid
        });
        self.importing.insert(uid, Importing { generation, task });
    }

    /// An import is over, one way or another.
    pub(super) fn import_over(&mut self, end: Result<VmUid, JoinError>) {
        match end {
            Ok(uid) => {
                self.importing.remove(&uid);
            }
            Err(error) => {
                let cut = |importing: &Importing| importing.task.id() == error.id();
                let uid = self.importing.iter().find(|(_, one)| cut(one));
                if let Some(uid) = uid.map(|(uid, _)| *uid) {
                    self.importing.remove(&uid);
                    self.board.forget(uid);
                }
            }
        }
    }
}

async fn import<H: Host>(
    host: &H,
    ledger: &Ledger,
    board: &Arc<Board>,
    clock: &BootClock,
    image: &ImageIntent,
) -> Result<(), StoreError> {
    let uid = image.uid;
    let progress = |done: u64, all: u64| {
        let percent = (u128::from(done) * 100)
            .checked_div(u128::from(all))
            .unwrap_or(0);
        board.import_at(uid, u8::try_from(percent.min(100)).unwrap_or(100));
    };
    match host.import(image, &progress).await {
        Ok(imported) => {
            let message = format!("imported as sha256:{}", imported.digest.0);
            let event = event(image, Severity::Normal, "Imported", message);
            let written = ledger.change_image(uid, vec![event], |image| {
                outcome::after_import(image, imported);
            });
            let written = written.await;
            board.over(uid, None);
            written
        }
        Err(error) => {
            let message = match &error.remedy {
                Some(remedy) => format!("{} ({remedy})", chain_of(&error)),
                None => chain_of(&error),
            };
            let event = event(image, Severity::Warning, "ImportFailed", message);
            let now = clock.now_ms();
            let written = ledger.change_image(uid, vec![event], |image| {
                outcome::after_failure(&mut image.error, now);
            });
            let written = written.await;
            board.over(uid, Some(&error));
            written
        }
    }
}

async fn tidy_up<H: Host>(
    host: &H,
    ledger: &Ledger,
    board: &Board,
    steps: Vec<ImageStep>,
) -> Result<(), StepError> {
    for step in steps {
        match step {
            ImageStep::Remove { digest } => host.remove_image(&digest).await?,
            ImageStep::Forget { uid, name } => {
                let event = NewEvent {
                    kind: Kind::Image,
                    name: name.to_string(),
                    severity: Severity::Normal,
                    reason: "Deleted",
                    message: "it is forgotten".into(),
                };
                board.forget(uid);
                ledger.forget(uid, vec![event]).await.map_err(|error| {
                    StepError::transient("the outcome could not be saved").because(error)
                })?;
            }
            ImageStep::Import { .. } => {}
        }
    }
    Ok(())
}

fn event(
    image: &ImageIntent,
    severity: Severity,
    reason: &'static str,
    message: String,
) -> NewEvent {
    NewEvent {
        kind: Kind::Image,
        name: image.name().to_string(),
        severity,
        reason,
        message,
    }
}
