//! `banger apply --prune`: a person's word for the deletions that the mass
//! guard holds, of one directory and no other. Whoever asks waits, two seconds
//! at most, while documents are missing that may yet come back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use banger_core::api::{Kind, Name};
use banger_core::seam::Host;
use banger_core::vanish::STABLE_MS;

use super::admit::source_of;
use super::ask::Refusal;
use super::run::Controller;

/// What the loop answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pruning {
    /// Documents may yet come back: ask again then.
    Wait(Duration),
    /// These go.
    Done(Vec<(Kind, Name)>),
}

impl<H: Host> Controller<H> {
    /// Confirms what is held of these directories, and admits that. Answers
    /// the objects that go. What isn't held now isn't confirmed in advance.
    pub(super) async fn prune(
        &mut self,
        directories: &[PathBuf],
        waited: bool,
    ) -> Result<Pruning, Refusal> {
        // Read anew, so that a document that came back meanwhile counts.
        let reading = self.read(Vec::new()).await;
        self.admit(&reading).await?;
        // What went a moment ago is held only once it is seen to stay away.
        if let Some(ms) = self.latest.vanished.recheck_after_ms
            && !waited
        {
            return Ok(Pruning::Wait(Duration::from_millis(ms.min(STABLE_MS))));
        }
        let state = self.ledger.state().await;
        let directories: Vec<PathBuf> = directories.iter().map(|it| real(it)).collect();
        let mut confirmed = Vec::new();
        for (kind, name) in &self.latest.vanished.guarded {
            let file = source_of(&state, *kind, name);
            let within = file
                .and_then(|file| file.parent())
                .is_some_and(|parent| directories.contains(&real(parent)));
            if within && self.vanish.confirm(&(*kind, name.clone())) {
                confirmed.push((*kind, name.clone()));
            }
        }
        if !confirmed.is_empty() {
            self.admit(&reading).await?;
        }
        let state = self.ledger.state().await;
        confirmed.retain(|(kind, name)| match kind {
            Kind::VirtualMachine => state
                .intents
                .vm(name)
                .is_none_or(|vm| vm.deletion.is_some()),
            Kind::Image => state
                .intents
                .image(name)
                .is_none_or(|it| it.deletion.is_some()),
        });
        Ok(Pruning::Done(confirmed))
    }
}

/// With links followed where that can be done.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
