//! The trash: how long entries have been kept, who wants one back, and what
//! goes for good.
//!
//! Guarantees: nothing is emptied before it has lain for as long as the
//! configuration says, counted in the daemon's own running time: neither a
//! clock that is set nor weeks without power shorten it. Nothing that a VM is
//! about to take back is emptied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use banger_core::api::{Kind, Name};
use banger_core::intent::VmIntent;
use banger_core::inventory;
use banger_core::seam::{Host, StepError};
use banger_core::trash::{self, Shelf, Trashed};
use banger_protocol::VmUid;

use super::ask::{Answer, Refusal, event};
use super::board::chain_of;
use super::collect::WorksOn;
use super::ledger::{Ledger, State};
use super::run::Controller;
use crate::store::{Kept, StoreError};
use crate::wire::response::{Code, TrashItem};

/// Running time is written down so often: so much is lost by a crash, which
/// keeps disks a little longer.
const COUNTED_EVERY_MS: u64 = 600_000;

/// What the host said of the trash.
pub(super) type Found = Result<Arc<Vec<Trashed>>, StepError>;

impl<H: Host> Controller<H> {
    /// Counts the time since the last pass. A longer pause than passes ever
    /// make is a suspended host's, and counts as one between passes.
    pub(super) fn tick(&mut self) {
        let now_ms = self.clock.now_ms();
        self.ran_ms += self.since_tick(now_ms);
        self.ticked_ms = now_ms;
    }

    /// Running time up to this moment that isn't in the ledger yet.
    pub(super) fn uncounted_ms(&self) -> u64 {
        self.ran_ms + self.since_tick(self.clock.now_ms())
    }

    fn since_tick(&self, now_ms: u64) -> u64 {
        let resync = u64::try_from(self.settings.resync.as_millis()).unwrap_or(u64::MAX);
        let passed = now_ms.saturating_sub(self.ticked_ms);
        passed.min(resync.saturating_mul(2))
    }

    /// Writes the running time down.
    pub(super) async fn count_running(&mut self) -> Result<(), StoreError> {
        let ran_ms = self.ran_ms;
        self.ledger
            .replace(|state| {
                let next = State {
                    running_ms: state.running_ms + ran_ms,
                    ..state.clone()
                };
                (next, Vec::new(), ())
            })
            .await?;
        self.ran_ms = 0;
        Ok(())
    }

    /// Empties what has lain long enough, one entry a pass.
    pub(super) async fn expire_trash(&mut self) -> Result<(), StoreError> {
        if self.ran_ms >= COUNTED_EVERY_MS {
            self.count_running().await?;
        }
        let Ok(entries) = self.trash_found().await else {
            return Ok(());
        };
        let state = self.ledger.state().await;
        let running_ms = state.running_ms + self.ran_ms;
        let since = state
            .trash
            .iter()
            .map(|(id, kept)| (id.clone(), kept.since_ms));
        let keep_ms = u64::try_from(self.settings.trash_keep.as_millis()).unwrap_or(u64::MAX);
        let since: BTreeMap<String, u64> = since.collect();
        let expired = trash::expired(&entries, &since, running_ms, keep_ms, &state.intents);
        let wanted = |entry: &Trashed| state.trash.get(&entry.id).is_some_and(|it| it.wanted);
        let going = self.going();
        let mut free = expired
            .iter()
            .filter(|entry| !wanted(entry) && !going.contains(&entry.id));
        let Some(entry) = free.next() else {
            return Ok(());
        };
        let expired = self.emptying(vec![Trashed::clone(entry)]);
        let id = entry.id.clone();
        self.begin_emptying(expired, move |emptied| match emptied {
            Ok(()) => tracing::info!(entry = %id, "the trash kept it long enough: it is removed"),
            Err(error) => {
                let why = chain_of(&error);
                tracing::warn!(entry = %id, "it could not be removed from the trash: {why}");
            }
        });
        Ok(())
    }

    /// Removes these entries for good, or none where one can't be; `answer`
    /// gets word once it is over.
    pub(super) async fn empty_trash(&mut self, ids: &[String], answer: Answer<()>) {
        let chosen = match self.chosen(ids).await {
            Ok(chosen) => chosen,
            Err(refusal) => {
                let _ = answer.send(Err(refusal));
                return;
            }
        };
        let emptying = self.emptying(chosen);
        self.begin_emptying(emptying, |emptied| {
            // Whoever asked may have hung up.
            let _ = answer.send(emptied.map_err(|error| unreadable(&error)));
        });
    }

    async fn chosen(&self, ids: &[String]) -> Result<Vec<Trashed>, Refusal> {
        let entries = self.trash_entries().await?;
        let state = self.ledger.state().await;
        let going = self.going();
        let mut chosen = Vec::new();
        for id in ids {
            let entry = entries.iter().find(|entry| entry.id == *id);
            let entry = entry.ok_or_else(|| no_entry(id))?;
            if trash::is_awaited(entry, &state.intents) {
                return Err(Refusal::conflict(
                    format!("vm `{}` is taking its disks back", shown(entry)),
                    "wait until it has them",
                ));
            }
            refuse_going(&going, id)?;
            chosen.push(entry.clone());
        }
        Ok(chosen)
    }

    fn emptying(&self, chosen: Vec<Trashed>) -> Emptying<H> {
        Emptying {
            host: Arc::clone(&self.host),
            ledger: Arc::clone(&self.ledger),
            chosen,
            // What is being imported may turn out to be the very image.
            images: self.importing.is_empty(),
        }
    }

    /// Beside the loop: a large disk takes its time.
    fn begin_emptying(
        &mut self,
        emptying: Emptying<H>,
        tell: impl FnOnce(Result<(), StepError>) + Send + 'static,
    ) {
        let chosen = &emptying.chosen;
        let whole = chosen.iter().filter(|entry| entry.whole().is_some());
        let works_on = WorksOn {
            uids: whole.map(|entry| entry.uid).collect(),
            entries: chosen.iter().map(|entry| entry.id.clone()).collect(),
            images: emptying.images,
        };
        let task = self.collections.spawn(async move {
            let emptied = emptying.run().await;
            // What failed is tried again at the next resync.
            let done = emptied.is_ok();
            tell(emptied);
            done
        });
        self.collecting.insert(task.id(), works_on);
    }

    /// Entries that are being removed.
    pub(super) fn going(&self) -> Going {
        let collecting = self.collecting.values();
        collecting
            .flat_map(|it| it.entries.iter().cloned())
            .collect()
    }

    /// Has the next document of the entry's name bring back its VM.
    pub(super) async fn undelete(&mut self, id: &str) -> Result<(), Refusal> {
        let entries = self.trash_entries().await?;
        let entry = entries.iter().find(|entry| entry.id == id);
        let entry = entry.ok_or_else(|| no_entry(id))?;
        refuse_going(&self.going(), id)?;
        if let Some(why) = &entry.unread {
            return Err(Refusal::conflict(
                format!("it can't be told which VM {id} holds: {why}"),
                "put that file in order, then try again",
            ));
        }
        let Some(vm) = entry.whole() else {
            return Err(Refusal::conflict(
                format!("{id} holds a disk that was replaced, not a VM"),
                "see `banger trash list`",
            ));
        };
        let name = vm.name();
        self.refuse_taken(name, None).await?;
        let others: BTreeSet<&String> = entries
            .iter()
            .filter(|other| other.id != *id && other.name() == Some(name))
            .map(|other| &other.id)
            .collect();
        let running_ms = self.ran_ms;
        let wanted = event(
            Kind::VirtualMachine,
            name,
            "UndeleteRequested",
            "`banger undelete`",
        );
        self.ledger
            .replace(|state| {
                let mut trash = BTreeMap::clone(&state.trash);
                for (other, kept) in &mut trash {
                    kept.wanted &= !others.contains(other);
                }
                let new = Kept {
                    since_ms: state.running_ms + running_ms,
                    wanted: true,
                };
                trash.entry(id.to_owned()).or_insert(new).wanted = true;
                let next = State {
                    trash: Arc::new(trash),
                    ..state.clone()
                };
                (next, vec![wanted], ())
            })
            .await?;
        Ok(())
    }

    /// Takes an undeletion back whose document could not be written.
    pub(super) async fn leave_in_trash(&mut self, id: &str) -> Result<(), Refusal> {
        self.ledger
            .replace(|state| {
                let mut trash = BTreeMap::clone(&state.trash);
                if let Some(kept) = trash.get_mut(id) {
                    kept.wanted = false;
                }
                let next = State {
                    trash: Arc::new(trash),
                    ..state.clone()
                };
                (next, Vec::new(), ())
            })
            .await?;
        Ok(())
    }

    /// Refuses where a VM of this name is there, or on its way out, or where
    /// the host holds one that a document of the name would take over.
    pub(super) async fn refuse_taken(
        &mut self,
        name: &Name,
        asking: Option<VmUid>,
    ) -> Result<(), Refusal> {
        let state = self.ledger.state().await;
        let mut others = state.intents.vms.values();
        // Of two that are to have a name, its document would choose one.
        let other = |vm: &&VmIntent| vm.renaming.as_ref() == Some(name) && Some(vm.uid) != asking;
        if let Some(other) = others.find(other) {
            let other = other.name();
            return Err(Refusal::conflict(
                format!("vm `{other}` is to be called `{name}`"),
                "choose another name, or have its document say so first",
            ));
        }
        let there = format!("there is a vm `{name}` already");
        if let Some(vm) = state.intents.vm(name) {
            let remedy = match vm.deletion {
                Some(_) => "wait until it is gone, then try again".to_owned(),
                None => format!(
                    "give it another name (`banger rename vm {name} NEW`) or delete it, then try \
                     again"
                ),
            };
            return Err(Refusal::conflict(there, remedy));
        }
        match self.orphans().await.named(name) {
            Some(uid) => Err(Refusal::conflict(
                format!("{there}: {uid}, which the database doesn't know"),
                format!(
                    "a document of that name takes it over; `banger gc --orphan {uid}` ends it \
                     and keeps its disks in the trash"
                ),
            )),
            None => Ok(()),
        }
    }

    async fn trash_entries(&self) -> Result<Arc<Vec<Trashed>>, Refusal> {
        self.trash_found().await.map_err(|error| unreadable(&error))
    }

    /// What the host says of the trash, given what is known to lie there.
    pub(super) async fn trash_found(&self) -> Found {
        let known = !self.ledger.state().await.trash.is_empty();
        self.host.trash(known).await
    }
}

/// Entries of the trash that are being removed, by id.
pub(super) type Going = BTreeSet<String>;

/// Entries that go for good.
struct Emptying<H> {
    host: Arc<H>,
    ledger: Arc<Ledger>,
    chosen: Vec<Trashed>,
    /// Images that nothing else needs go with them.
    images: bool,
}

impl<H: Host> Emptying<H> {
    async fn run(self) -> Result<(), StepError> {
        for entry in &self.chosen {
            self.host.empty_trash(&entry.id).await?;
            let Some(image) = entry.pins().filter(|_| self.images) else {
                continue;
            };
            // The host first: what goes to the trash meanwhile has an intent until then.
            let holdings = self.host.holdings().await;
            let intents = self.ledger.state().await.intents;
            match inventory::reason_to_stay(image, &intents, &BTreeSet::new(), &holdings) {
                None => self.host.remove_image(image).await?,
                // `banger gc` says it too, and removes it once nothing needs it.
                Some(why) => tracing::info!(image = %image.0, "an image stays: {why}"),
            }
        }
        Ok(())
    }
}

/// What lies in the trash, for a person.
pub(super) fn items(
    found: &Found,
    state: &State,
    ran_ms: u64,
    keep: Duration,
) -> Result<Vec<TrashItem>, Refusal> {
    let entries = found.as_ref().map_err(unreadable)?;
    let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    let running_ms = state.running_ms + ran_ms;
    let items = entries.iter().map(|entry| {
        let kept = state.trash.get(&entry.id);
        let lain = kept.map_or(0, |kept| running_ms.saturating_sub(kept.since_ms));
        TrashItem {
            id: entry.id.clone(),
            uid: entry.uid,
            name: entry.name().cloned(),
            disk: entry.disk,
            disks: entry.disks.clone(),
            taken: entry.taken,
            trashed: entry.trashed,
            expires_in_seconds: keep_ms.saturating_sub(lain) / 1000,
            document: entry.whole().map(trash::document),
            unread: entry.unread.clone(),
        }
    });
    Ok(items.collect())
}

/// What a document that appears may bring back.
pub(super) fn shelf(found: &Found, state: &State, going: &Going) -> Shelf {
    match found {
        Ok(entries) => {
            let stay = entries.iter().filter(|entry| !going.contains(&entry.id));
            let wanted = state.trash.iter().filter(|(_, kept)| kept.wanted);
            let wanted = wanted.map(|(id, _)| id.clone()).collect();
            Shelf::of(stay, &wanted, &state.intents)
        }
        Err(error) => Shelf::unknown(error.message.clone()),
    }
}

/// What is known of the entries that there are. One that is seen for the first
/// time is waited for from now on.
pub(super) fn kept(found: &Found, state: &State, running_ms: u64) -> Arc<BTreeMap<String, Kept>> {
    let Ok(entries) = found else {
        return Arc::clone(&state.trash);
    };
    let new = Kept {
        since_ms: running_ms,
        wanted: false,
    };
    let kept = entries.iter().map(|entry| {
        let known = state.trash.get(&entry.id).copied();
        (entry.id.clone(), known.unwrap_or(new))
    });
    let kept: BTreeMap<String, Kept> = kept.collect();
    if kept == *state.trash {
        return Arc::clone(&state.trash);
    }
    Arc::new(kept)
}

fn shown(entry: &Trashed) -> String {
    entry
        .name()
        .map_or_else(|| entry.uid.to_string(), ToString::to_string)
}

fn no_entry(id: &str) -> Refusal {
    Refusal {
        code: Code::NotFound,
        message: format!("the trash holds no {id}"),
        remedy: Some("see `banger trash list`".into()),
    }
}

fn refuse_going(going: &Going, id: &str) -> Result<(), Refusal> {
    if !going.contains(id) {
        return Ok(());
    }
    Err(Refusal::conflict(
        format!("{id} is being removed already"),
        "see `banger trash list`",
    ))
}

fn unreadable(error: &StepError) -> Refusal {
    Refusal {
        code: Code::Internal,
        message: chain_of(error),
        remedy: error.remedy.clone(),
    }
}
