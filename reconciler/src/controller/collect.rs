//! `banger doctor --inventory` and `banger gc`.
//!
//! Guarantees: what is removed was seen to be nobody's in one look at the host
//! that is older than the intents it is compared with; the helper checks the
//! tags once more before it removes anything; an orphan that is being
//! collected is busy like a VM with a chain. Orphans whose VMM runs are only
//! touched by name. Images go only while no import runs, and none begins
//! until they are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use banger_core::adoption::adoption;
use banger_core::api::Kind;
use banger_core::intent::{ImageDigest, Intents};
use banger_core::inventory::{self, Collection, Holdings, Leftover, Removal};
use banger_core::observed::Observed;
use banger_core::orphans::Orphans;
use banger_core::plan::Step;
use banger_core::seam::{Host, StepError, VmRef};
use banger_protocol::VmUid;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::ask::{Answer, Refusal};
use super::board::chain_of;
use super::ledger::Ledger;
use super::run::Controller;
use crate::store::NewEvent;
use crate::wire::response::{Code, Collected, Severity};

/// What a collection may remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collect {
    /// Nothing: only say what would go.
    pub dry_run: bool,
    /// Orphans that may go although their VMM runs.
    pub orphans: BTreeSet<VmUid>,
}

impl<H: Host> Controller<H> {
    /// Begins to remove what a look showed that nobody needs; `answer` gets
    /// word once it is over.
    pub(super) async fn collect(
        &mut self,
        holdings: &Holdings,
        collect: &Collect,
        answer: Answer<Collected>,
    ) {
        let intents = self.ledger.state().await.intents;
        let busy = self.busy();
        let collection = inventory::collect(&intents, &busy, holdings, &collect.orphans);
        if let Err(refusal) = sensible(collect, &collection, &intents, &busy) {
            let _ = answer.send(Err(refusal));
            return;
        }
        if collect.dry_run {
            let _ = answer.send(Ok(would(collection)));
            return;
        }
        let works_on = WorksOn {
            uids: collection.orphans.keys().copied().collect(),
            entries: BTreeSet::new(),
            images: !collection.images.is_empty(),
        };
        let sweep = Sweep {
            host: Arc::clone(&self.host),
            ledger: Arc::clone(&self.ledger),
            stop: self.stop.clone(),
        };
        let sweeps = Arc::clone(&self.sweeps);
        let task = self.collections.spawn(async move {
            let orphans = !collection.orphans.is_empty();
            let collected = sweep.run(collection).await;
            if orphans {
                // Whoever is answered may bring a document of their names next.
                sweeps.fetch_add(1, Ordering::SeqCst);
            }
            // Whoever asked may have hung up.
            let _ = answer.send(Ok(collected));
            true
        });
        self.collecting.insert(task.id(), works_on);
    }

    /// A collection is over. Whether that calls for a pass.
    pub(super) fn collected(&mut self, end: Result<(tokio::task::Id, bool), JoinError>) -> bool {
        let (id, calls) = match end {
            Ok(end) => end,
            Err(error) => {
                tracing::error!("a collection was cut short: {error}");
                (error.id(), true)
            }
        };
        self.collecting.remove(&id);
        calls
    }

    /// What of the host no intent knew at the last look; `None` where nobody has
    /// looked yet, or what was seen may have been swept away since.
    pub(super) fn known_orphans(&self) -> Option<&Orphans> {
        let (sweeps, orphans) = self.orphans.as_ref()?;
        (*sweeps == self.sweeps.load(Ordering::SeqCst)).then_some(orphans)
    }

    /// Says once what this daemon found running when it started.
    pub(super) async fn tell_adoption(&mut self, intents: &Intents, observed: &Observed) {
        if self.adoption.is_some() {
            return;
        }
        let Some(adoption) = adoption(intents, observed) else {
            return;
        };
        tracing::info!("{adoption}");
        let mut events = Vec::new();
        for left in &adoption.left {
            tracing::warn!(vm_uid = %left.uid, "not adopted: {}", left.why);
            if left.orphan {
                events.push(NewEvent {
                    kind: Kind::VirtualMachine,
                    name: left.uid.to_string(),
                    severity: Severity::Warning,
                    reason: "NotAdopted",
                    message: format!(
                        "it runs and {}: it is left alone (`banger gc --orphan {}` removes it)",
                        left.why, left.uid
                    ),
                });
            }
        }
        if let Err(error) = self.ledger.note(Vec::new(), events).await {
            tracing::error!("an event could not be saved: {error}");
        }
        self.adoption = Some(adoption);
    }
}

/// A named orphan must be one.
fn sensible(
    collect: &Collect,
    collection: &Collection,
    intents: &Intents,
    busy: &BTreeSet<VmUid>,
) -> Result<(), Refusal> {
    for uid in &collect.orphans {
        if let Some(vm) = intents.vms.get(uid) {
            return Err(Refusal::conflict(
                format!("{uid} is no orphan: it is vm `{}`", vm.name()),
                format!("`banger delete vm/{}` deletes it", vm.name()),
            ));
        }
        if busy.contains(uid) {
            return Err(Refusal::conflict(
                format!("VM {uid} is being removed already"),
                "see `banger events`",
            ));
        }
        if let Some(why) = &collection.blind {
            return Err(Refusal::conflict(
                format!("VM {uid} can't be removed: not all of it could be looked at: {why}"),
                "see `banger doctor`",
            ));
        }
        if !collection.orphans.contains_key(uid) {
            return Err(Refusal {
                code: Code::NotFound,
                message: format!("the host holds nothing of a VM {uid}"),
                remedy: Some("see `banger doctor --inventory`".into()),
            });
        }
    }
    Ok(())
}

/// What would be removed.
fn would(collection: Collection) -> Collected {
    let mut removed = Vec::new();
    for (uid, steps) in &collection.orphans {
        removed.extend(steps.iter().map(|step| removal(*uid, step)));
    }
    let leftovers = collection.leftovers.iter().map(Leftover::describe);
    let images = collection.images.iter().map(describe);
    removed.extend(leftovers.chain(images).map(|what| Removal {
        what,
        uid: None,
        failed: None,
    }));
    Collected {
        dry_run: true,
        removed,
        left: collection.left,
    }
}

fn describe(image: &ImageDigest) -> String {
    format!("image {}", image.0)
}

fn removal(uid: VmUid, step: &Step) -> Removal {
    Removal {
        what: step.describe(),
        uid: Some(uid),
        failed: None,
    }
}

struct Sweep<H> {
    host: Arc<H>,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
}

impl<H: Host> Sweep<H> {
    /// One after the other: nobody waits for it, and VMs come first.
    async fn run(self, collection: Collection) -> Collected {
        let mut removed = Vec::new();
        for (uid, steps) in &collection.orphans {
            self.orphan(*uid, steps, &mut removed).await;
        }
        for leftover in &collection.leftovers {
            let result = self.host.remove_leftover(leftover).await;
            removed.push(Removal {
                what: leftover.describe(),
                uid: None,
                failed: result.err().map(|error| words(&error)),
            });
        }
        for image in &collection.images {
            let result = self.host.remove_image(image).await;
            if result.is_ok() {
                tracing::info!(image = %image.0, "nothing needed it: it is removed");
            }
            removed.push(Removal {
                what: describe(image),
                uid: None,
                failed: result.err().map(|error| words(&error)),
            });
        }
        Collected {
            dry_run: false,
            removed,
            left: collection.left,
        }
    }

    /// The first failure ends it: what comes later would take away what is in use.
    async fn orphan(&self, uid: VmUid, steps: &[Step], removed: &mut Vec<Removal>) {
        let vm = VmRef::Orphan(uid);
        let mut failed = None;
        for step in steps {
            if self.stop.is_cancelled() {
                failed = Some("the daemon is stopping: run it again".to_owned());
            } else if let Err(error) = self.host.vm_step(&vm, step).await {
                failed = Some(words(&error));
            }
            removed.push(Removal {
                failed: failed.clone(),
                ..removal(uid, step)
            });
            if failed.is_some() {
                break;
            }
        }
        let event = NewEvent {
            kind: Kind::VirtualMachine,
            name: uid.to_string(),
            severity: if failed.is_some() {
                Severity::Warning
            } else {
                Severity::Normal
            },
            reason: if failed.is_some() {
                "CollectFailed"
            } else {
                "Collected"
            },
            message: failed.unwrap_or_else(|| "no intent knew it; disks went to the trash".into()),
        };
        if let Err(error) = self.ledger.note(Vec::new(), vec![event]).await {
            tracing::error!("an event could not be saved: {error}");
        }
    }
}

fn words(error: &StepError) -> String {
    match &error.remedy {
        Some(remedy) => format!("{} ({remedy})", chain_of(error)),
        None => chain_of(error),
    }
}

/// What a collection removes.
#[derive(Debug)]
pub(super) struct WorksOn {
    pub(super) uids: BTreeSet<VmUid>,
    /// Entries of the trash.
    pub(super) entries: BTreeSet<String>,
    /// Images, too: no import may begin that could turn out to be one of them.
    pub(super) images: bool,
}

/// Collections that run, by the task that does it.
pub(super) type Collecting = BTreeMap<tokio::task::Id, WorksOn>;
