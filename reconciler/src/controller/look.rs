//! Questions: answered beside the loop, so that nobody who asks waits for
//! another, for a pass, or for the host's answer to somebody else.

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use banger_core::admit::{Admission, Rules, admit_with_trash};
use banger_core::diff::{self, DiffReport};
use banger_core::inventory::{self, Holdings, InventoryReport};
use banger_core::observed::Observed;
use banger_core::orphans::Orphans;
use banger_core::plan::Clock;
use banger_core::reading::Reading;
use banger_core::seam::Host;
use banger_core::vanish::{SEVERAL_MS, Vanish};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout};

use super::admit::{attribute, mint};
use super::ask::{Answer, Refusal};
use super::collect::Collect;
use super::ledger::{Ledger, State};
use super::run::{Controller, SPACING};
use super::trash::{self, Found, Going};
use crate::source::Sources;
use crate::wire::request::OverlayFile;
use crate::wire::response::{Code, Collected, TrashItem};

/// A preview waits so long for a look at the host that is due or under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a look at the host was for, once it is over.
#[derive(Debug)]
pub(super) enum Look {
    /// Its answer has gone out.
    Answered,
    /// A report of what there is.
    Inventory(Box<Holdings>, Answer<InventoryReport>),
    /// What may be removed.
    Collect(Box<Holdings>, Collect, Answer<Collected>),
}

impl<H: Host> Controller<H> {
    /// Begins to answer what would happen.
    pub(super) async fn begin_diff(
        &mut self,
        overlay: Vec<OverlayFile>,
        answer: Answer<DiffReport>,
    ) {
        tokio::select! {
            biased;
            // The loop hasn't come to it yet.
            () = self.host.changed() => self.due = self.due.min(Instant::now() + SPACING),
            () = ready(()) => {}
        }
        let preview = Preview {
            host: Arc::clone(&self.host),
            ledger: Arc::clone(&self.ledger),
            sources: Arc::clone(&self.sources),
            rules: self.settings.rules.clone(),
            vanish: self.vanish.clone(),
            going: self.going(),
            orphans: self.known_orphans().cloned(),
            seen: self.seen.subscribe(),
            patience: self.patience(),
            uncounted_ms: self.uncounted_ms(),
            moment: self.moment(),
        };
        self.looks.spawn(async move {
            // Whoever asked may have hung up.
            let _ = answer.send(preview.report(overlay).await);
            Look::Answered
        });
    }

    /// How long a preview waits for what changed on the host to be seen.
    fn patience(&self) -> Duration {
        if self.due <= Instant::now() + SPACING {
            PATIENCE
        } else {
            Duration::ZERO
        }
    }

    /// Begins to answer what lies in the trash.
    pub(super) fn begin_trash(&mut self, answer: Answer<Vec<TrashItem>>) {
        let (host, ledger) = (Arc::clone(&self.host), Arc::clone(&self.ledger));
        let (keep, ran_ms) = (self.settings.trash_keep, self.ran_ms);
        self.looks.spawn(async move {
            let known = !ledger.state().await.trash.is_empty();
            let found = host.trash(known).await;
            let state = ledger.state().await;
            let items = trash::items(&found, &state, ran_ms, keep);
            let _ = answer.send(items);
            Look::Answered
        });
    }

    /// Begins a look at everything, for a report.
    pub(super) fn begin_inventory(&mut self, answer: Answer<InventoryReport>) {
        let host = Arc::clone(&self.host);
        self.looks
            .spawn(async move { Look::Inventory(Box::new(host.holdings().await), answer) });
    }

    /// Begins a look at everything, to collect what nobody needs.
    pub(super) fn begin_collect(&mut self, collect: Collect, answer: Answer<Collected>) {
        let host = Arc::clone(&self.host);
        self.looks
            .spawn(async move { Look::Collect(Box::new(host.holdings().await), collect, answer) });
    }

    /// A look is over.
    pub(super) async fn looked(&mut self, end: Result<Look, JoinError>) {
        match end {
            Ok(Look::Answered) => {}
            Ok(Look::Inventory(holdings, answer)) => {
                // The host first: what was made meanwhile has an intent by now.
                let intents = self.ledger.state().await.intents;
                let report = InventoryReport {
                    adoption: self.adoption.clone(),
                    ..inventory::compare(&intents, &self.busy(), &holdings)
                };
                let _ = answer.send(Ok(report));
            }
            Ok(Look::Collect(holdings, collect, answer)) => {
                self.collect(&holdings, &collect, answer).await;
            }
            Err(error) => tracing::error!("a question was not answered: {error}"),
        }
    }
}

/// What a preview goes by: all of it as it is when it is asked for.
struct Preview<H> {
    host: Arc<H>,
    ledger: Arc<Ledger>,
    sources: Arc<Mutex<Sources>>,
    rules: Rules,
    vanish: Vanish,
    going: Going,
    /// `None`: nobody has looked yet.
    orphans: Option<Orphans>,
    /// What the host was seen to be; `None`: no pass has looked yet.
    seen: watch::Receiver<Option<Arc<Observed>>>,
    /// How long it waits for the next look.
    patience: Duration,
    /// Running time that isn't in the ledger yet.
    uncounted_ms: u64,
    moment: Clock,
}

impl<H: Host> Preview<H> {
    async fn report(mut self, overlay: Vec<OverlayFile>) -> Result<DiffReport, Refusal> {
        // A host that doesn't answer keeps nobody from seeing what is known.
        let _ = timeout(self.patience, self.seen.changed()).await;
        let observed = self.seen.borrow_and_update().clone();
        let state = self.ledger.state().await;
        let observed = match observed {
            Some(observed) => observed,
            None => {
                let vms: Vec<_> = state.intents.vms.values().cloned().collect();
                Arc::new(self.host.observe(&vms).await)
            }
        };
        let found = self.host.trash(!state.trash.is_empty()).await;
        // Thousands of documents are milliseconds of work.
        let work = move || {
            let sources = self.sources.lock();
            let mut sources = sources.unwrap_or_else(|error| error.into_inner()).clone();
            let reading = sources.read_with(&overlay, state.sources.values());
            let orphans = self.orphans.clone();
            let orphans = orphans.unwrap_or_else(|| Orphans::of(&observed, &state.intents));
            let admission = self.admit(&reading, &state, &found, orphans);
            diff::report(&state.intents, &admission, &observed, self.moment)
        };
        let report = tokio::task::spawn_blocking(work).await;
        report.map_err(|error| Refusal {
            code: Code::Internal,
            message: format!("the preview was cut short: {error}"),
            remedy: Some("see the daemon's log".into()),
        })
    }

    /// What an admission of this reading would decide, if what is missing from
    /// it stays missing. Nothing is saved or remembered.
    fn admit(
        &self,
        reading: &Reading,
        state: &State,
        found: &Found,
        orphans: Orphans,
    ) -> Admission {
        let mut vanish = self.vanish.clone();
        let now_ms = state.running_ms + self.uncounted_ms;
        vanish.step(reading, &state.intents, now_ms);
        let vanished = vanish.step(reading, &state.intents, now_ms + SEVERAL_MS);
        let mut admission = admit_with_trash(
            reading,
            &state.intents,
            &vanished.gone,
            &trash::shelf(found, state, &self.going).beside(orphans),
            &self.rules,
            &mut mint,
            Timestamp::now(),
        );
        attribute(&mut admission, &state.sources);
        admission
    }
}
