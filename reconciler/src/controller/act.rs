//! Plans become chains of steps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use banger_core::api::Kind;
use banger_core::intent::Intents;
use banger_core::observed::Observed;
use banger_core::outcome;
use banger_core::plan::{Plan, Verb, VmPlan};
use banger_core::seam::{Host, StepError};
use banger_protocol::VmUid;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::chain::{Chain, End};
use super::run::Controller;
use crate::store::NewEvent;
use crate::wire::response::Severity;

/// So often the same chain may succeed without the host coming to be as it
/// was to be; then that is a failure of its own.
const TRIES: u32 = 3;
/// The longest pause between two tries at the host's own steps.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A chain that was begun, and how often in a row.
#[derive(Debug)]
pub(super) struct Begun {
    plan: VmPlan,
    times: u32,
}

impl<H: Host> Controller<H> {
    /// VMs and images that something is being done for.
    pub(super) fn busy(&self) -> BTreeSet<VmUid> {
        let chains = self.chain_of.values().copied();
        let collecting = self.collecting.values();
        let collecting = collecting.flat_map(|it| it.uids.iter().copied());
        chains
            .chain(self.importing.keys().copied())
            .chain(collecting)
            .collect()
    }

    /// Carries out the host's own steps and begins chains for VMs and images.
    /// Answers when to try the host's own steps again, if they failed.
    pub(super) async fn act(
        &mut self,
        plan: &Plan,
        intents: &Intents,
        observed: &Observed,
        busy: &BTreeSet<VmUid>,
    ) -> Option<Duration> {
        let repair = self.stood.differs(observed);
        let network = self.host_steps(plan).await;
        self.stood.remember(plan, observed, network.is_none());
        if repair && network.is_none() {
            let events = super::network::repaired(intents);
            if let Err(error) = self.ledger.note(Vec::new(), events).await {
                tracing::error!("an event could not be saved: {error}");
            }
        }
        self.begin_images(plan, intents, busy);
        let planned: BTreeSet<VmUid> = plan.vms.iter().map(|plan| plan.uid).collect();
        self.begun
            .retain(|uid, _| planned.contains(uid) || busy.contains(uid));
        for plan in &plan.vms {
            // Pausing is one short request, and can't wait.
            if plan.verb != Verb::Pause && self.chains.len() >= self.settings.max_chains {
                // The rest is planned anew as soon as one of them is over.
                break;
            }
            if busy.contains(&plan.uid) || plan.is_by_policy() && self.restarts_by_policy() {
                continue;
            }
            match &network {
                Some((_, error)) if plan.verb == Verb::Create => {
                    self.board.over(plan.uid, Some(error));
                }
                _ => self.begin(plan, intents, &observed.boot_id).await,
            }
        }
        network.map(|(pause, _)| pause)
    }

    /// Whether a chain that its VM's update policy began isn't over: a look at the
    /// host may not tell yet.
    fn restarts_by_policy(&self) -> bool {
        let mut uids = self.chain_of.values();
        uids.any(|uid| self.begun.get(uid).is_some_and(|it| it.plan.is_by_policy()))
    }

    async fn host_steps(&mut self, plan: &Plan) -> Option<(Duration, StepError)> {
        for step in &plan.host {
            self.heartbeat.stamp();
            let host = Arc::clone(&self.host);
            if let Err(error) = self.meanwhile(host.host_step(step)).await {
                tracing::warn!("{step:?} failed: {}", super::board::chain_of(&error));
                let pause = Duration::from_secs(1 << self.host_failures.min(6)).min(LONGEST_PAUSE);
                self.host_failures += 1;
                return Some((pause, error));
            }
        }
        self.host_failures = 0;
        None
    }

    /// Until the first of those can be begun that failed a moment ago.
    pub(super) fn held_off(&self, plan: &Plan) -> Option<Duration> {
        let now = Instant::now();
        let until = plan
            .vms
            .iter()
            .filter_map(|plan| self.pauses.get(&plan.uid));
        until
            .filter_map(|until| until.checked_duration_since(now))
            .min()
    }

    async fn begin(&mut self, plan: &VmPlan, intents: &Intents, boot_id: &str) {
        let uid = plan.uid;
        if self
            .pauses
            .get(&uid)
            .is_some_and(|until| *until > Instant::now())
        {
            return;
        }
        let times = match self.begun.remove(&uid) {
            Some(begun) if begun.plan == *plan => begun.times + 1,
            _ => 1,
        };
        if times > TRIES {
            self.give_up(plan).await;
            return;
        }
        self.begun.insert(
            uid,
            Begun {
                plan: plan.clone(),
                times,
            },
        );
        let event = NewEvent {
            kind: Kind::VirtualMachine,
            name: plan.name.clone(),
            severity: match plan.verb {
                Verb::Demote | Verb::Pause => Severity::Warning,
                _ => Severity::Normal,
            },
            reason: reason(plan.verb),
            message: plan.reason.clone(),
        };
        let events = match plan.is_bookkeeping() {
            true => Vec::new(),
            false => vec![event],
        };
        if let Err(error) = self.ledger.note(Vec::new(), events).await {
            tracing::error!("an event could not be saved: {error}");
        }
        let chain = Chain {
            host: Arc::clone(&self.host),
            ledger: Arc::clone(&self.ledger),
            board: Arc::clone(&self.board),
            clock: self.clock.clone(),
            boot_id: boot_id.to_owned(),
            stop: self.stop.clone(),
            plan: plan.clone(),
        };
        let planned = intents.vms.get(&uid).cloned();
        if let Some(first) = plan.steps.first().filter(|_| !plan.is_bookkeeping()) {
            self.board.at_step(uid, first.describe());
        }
        let task = self.chains.spawn(chain.run(planned));
        self.chain_of.insert(task.id(), uid);
    }

    async fn give_up(&mut self, plan: &VmPlan) {
        let words: Vec<String> = plan.steps.iter().map(|step| step.describe()).collect();
        let error = StepError::lasting(
            format!(
                "{} succeeded {TRIES} times, but the host doesn't show it",
                words.join(", ")
            ),
            "see the daemon's log, and what else changes the host",
        );
        self.board.over(plan.uid, Some(&error));
        let now = self.clock.now_ms();
        let event = NewEvent {
            kind: Kind::VirtualMachine,
            name: plan.name.clone(),
            severity: Severity::Warning,
            reason: "NoEffect",
            message: error.message,
        };
        let saved = self
            .ledger
            .change_vm(plan.uid, vec![event], |vm, _| {
                outcome::after_failure(&mut vm.error, now);
            })
            .await;
        if let Err(error) = saved {
            tracing::error!("a failure could not be saved: {error}");
        }
        self.pauses.insert(plan.uid, Instant::now() + LONGEST_PAUSE);
    }

    /// A chain is over.
    pub(super) fn chain_over(&mut self, end: Result<(tokio::task::Id, End), JoinError>) {
        let (id, end) = match end {
            Ok((id, end)) => (id, Some(end)),
            Err(error) => {
                tracing::error!("a chain of steps was cut short: {error}");
                (error.id(), None)
            }
        };
        let Some(uid) = self.chain_of.remove(&id) else {
            return;
        };
        self.pauses.remove(&uid);
        match end {
            Some(End::Done | End::Left) => {}
            // The next try must not come at once, whatever could be saved.
            Some(End::Failed(_)) | None => {
                self.begun.remove(&uid);
                self.board.left(uid);
                self.pauses
                    .insert(uid, Instant::now() + Duration::from_secs(1));
            }
        }
    }
}

const fn reason(verb: Verb) -> &'static str {
    match verb {
        Verb::Teardown => "TearingDown",
        Verb::Demote => "Demoting",
        Verb::Pause => "Pausing",
        Verb::Stop => "Stopping",
        Verb::Resume => "Resuming",
        Verb::Restore => "Restoring",
        Verb::Create => "Creating",
        Verb::Update => "Updating",
    }
}
