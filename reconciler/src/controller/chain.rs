//! The steps of one VM, carried out in order.

use std::sync::Arc;

use banger_core::api::Kind;
use banger_core::intent::{Deletion, PowerOverride, VmIntent};
use banger_core::outcome::{self, Moment};
use banger_core::plan::{Step, VmPlan};
use banger_core::seam::{Host, StepError, VmRef};
use tokio_util::sync::CancellationToken;

use super::board::{Board, chain_of};
use super::clock::BootClock;
use super::ledger::Ledger;
use crate::store::{NewEvent, StoreError};
use crate::wire::response::Severity;

/// How a chain ended.
#[derive(Debug)]
pub(super) enum End {
    /// All steps succeeded.
    Done,
    /// Somebody wants something else of the VM now, or the daemon stops.
    Left,
    /// A step failed.
    Failed(StepError),
}

/// What a chain works with.
#[derive(Debug)]
pub(super) struct Chain<H> {
    pub(super) host: Arc<H>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) board: Arc<Board>,
    pub(super) clock: BootClock,
    pub(super) boot_id: String,
    pub(super) stop: CancellationToken,
    pub(super) plan: VmPlan,
}

/// What a chain was begun for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    generation: u64,
    deletion: Option<Deletion>,
    power: PowerOverride,
    restart_token: u64,
}

impl Wanted {
    fn of(vm: &VmIntent) -> Self {
        Self {
            generation: vm.generation,
            deletion: vm.deletion.clone(),
            power: vm.power,
            restart_token: vm.restart_token,
        }
    }
}

impl<H: Host> Chain<H> {
    /// Carries the steps out, and writes the end down. The intent that the
    /// plan was made of is `planned`.
    pub(super) async fn run(self, planned: Option<VmIntent>) -> End {
        let end = self.steps(planned.as_ref().map(Wanted::of)).await;
        let uid = self.plan.uid;
        let written = match &end {
            End::Left => {
                self.board.left(uid);
                return end;
            }
            End::Done => {
                self.board.over(uid, None);
                self.ledger
                    .change_vm(uid, Vec::new(), |vm, _| {
                        outcome::after_success(&mut vm.error);
                    })
                    .await
            }
            End::Failed(error) => {
                self.board.over(uid, Some(error));
                let now = self.clock.now_ms();
                self.ledger
                    .change_vm(uid, vec![self.failure(error)], |vm, _| {
                        outcome::after_failure(&mut vm.error, now);
                    })
                    .await
            }
        };
        match written {
            Ok(()) => end,
            Err(error) => End::Failed(unsaved(error)),
        }
    }

    async fn steps(&self, wanted: Option<Wanted>) -> End {
        for step in &self.plan.steps {
            let vm = self.ledger.vm(self.plan.uid).await;
            if self.stop.is_cancelled() || vm.as_ref().map(Wanted::of) != wanted {
                return End::Left;
            }
            let stage = step.describe();
            let (name, uid, op) = (&self.plan.name, self.plan.uid, self.plan.verb.as_str());
            tracing::info!(vm = %name, vm_uid = %uid, op, stage, "{name}: {op}: {stage}");
            // Nothing of it is to be seen in the VM's status, unless it fails.
            if !self.plan.is_bookkeeping() {
                self.board.at_step(uid, stage);
            }
            if let Err(error) = self.step(vm, step).await {
                let why = chain_of(&error);
                let stage = step.describe();
                tracing::warn!(vm = %name, vm_uid = %uid, op, stage, "{name}: {op}: {stage} failed: {why}");
                return End::Failed(StepError {
                    message: format!("{}: {}", step.describe(), error.message),
                    ..error
                });
            }
        }
        End::Done
    }

    async fn step(&self, vm: Option<VmIntent>, step: &Step) -> Result<(), StepError> {
        match step {
            Step::Forget => {
                let event = self.event(Severity::Normal, "Deleted", "everything of it is gone");
                self.board.forget(self.plan.uid);
                return self
                    .ledger
                    .forget(self.plan.uid, vec![event])
                    .await
                    .map_err(unsaved);
            }
            stored if stored.is_the_stores() => {}
            _ => {
                let vm = match vm.clone() {
                    Some(vm) => VmRef::Intended(Box::new(vm)),
                    None => VmRef::Orphan(self.plan.uid),
                };
                self.host.vm_step(&vm, step).await?;
            }
        }
        match vm {
            Some(given) => self.take(&given, step).await.map_err(unsaved),
            None => Ok(()),
        }
    }

    /// Saves what the step did to the intent that it was `given`.
    async fn take(&self, given: &VmIntent, step: &Step) -> Result<(), StoreError> {
        let moment = Moment {
            boot_id: self.boot_id.clone(),
            boot_ms: self.clock.now_ms(),
        };
        self.ledger
            .change_vm(self.plan.uid, Vec::new(), |vm, _| {
                let mut after = given.clone();
                if outcome::after_step(&mut after, step, &moment) {
                    merge(vm, given, after);
                }
            })
            .await
    }

    fn failure(&self, error: &StepError) -> NewEvent {
        let remedy = error.remedy.as_ref();
        let message = match remedy {
            Some(remedy) => format!("{} ({remedy})", chain_of(error)),
            None => chain_of(error),
        };
        self.event(Severity::Warning, "StepFailed", &message)
    }

    fn event(&self, severity: Severity, reason: &'static str, message: &str) -> NewEvent {
        NewEvent {
            kind: Kind::VirtualMachine,
            name: self.plan.name.clone(),
            severity,
            reason,
            message: message.to_owned(),
        }
    }
}

/// Takes the outcome of a step into an intent that may have been admitted anew
/// while the step ran: what the step made is of the intent that it was given.
fn merge(vm: &mut VmIntent, given: &VmIntent, after: VmIntent) {
    if after.confirmations != given.confirmations {
        vm.confirmations
            .retain(|one| !given.confirmations.contains(one) || after.confirmations.contains(one));
    }
    if after.applied != given.applied {
        vm.applied = after.applied;
    }
    // Never back: both count what was written down anywhere.
    vm.generation = vm.generation.max(after.generation);
    vm.restart_token = vm.restart_token.max(after.restart_token);
    if after.image != given.image {
        vm.image = after.image;
    }
    if after.restoring != given.restoring {
        vm.restoring = after.restoring;
    }
    if after.started != given.started {
        vm.started = after.started;
    }
    if after.completed != given.completed {
        vm.completed = after.completed;
    }
    if after.crash != given.crash {
        vm.crash = after.crash;
    }
}

fn unsaved(error: StoreError) -> StepError {
    StepError::transient("the outcome could not be saved").because(error)
}
