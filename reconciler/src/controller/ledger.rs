//! The intents as they are in the store, and the only way to change them.
//!
//! Guarantees: memory never runs ahead of the disk: a change is seen by others
//! only once it is durable; nor does it stay behind after a write that failed.
//! Changes are made one at a time, under the one lock
//! here; nothing but the store is awaited while it is held.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use banger_core::api::{Condition, Kind, Name};
use banger_core::intent::{ImageIntent, Intents, VmIntent};
use banger_core::vanish::Guard;
use banger_protocol::VmUid;
use tokio::sync::{Mutex, broadcast};

use crate::store::{Batch, Intent, Kept, Loaded, NewEvent, Row, Store, StoreError};
use crate::wire::response::Event;

/// Events that a slow follower may fall behind before it has to read anew.
const FOLLOWERS: usize = 1024;

/// The intents, and where each was last declared.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) intents: Arc<Intents>,
    pub(super) sources: Arc<BTreeMap<VmUid, PathBuf>>,
    /// How long the daemon has run in all, milliseconds.
    pub(super) running_ms: u64,
    /// What is known of entries of the trash.
    pub(super) trash: Arc<BTreeMap<String, Kept>>,
    /// What the mass guard goes by.
    pub(super) guard: Arc<Guard>,
    /// Grows whenever a row goes: what was seen of the trash before that may
    /// lack the disks of the VM that went.
    pub(super) forgotten: u64,
}

#[derive(Debug)]
pub(super) struct Ledger {
    store: Store,
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
}

impl Ledger {
    pub(super) fn new(store: Store, loaded: &Loaded) -> Self {
        Self {
            store,
            state: Mutex::new(State {
                intents: Arc::new(loaded.intents.clone()),
                sources: Arc::new(loaded.sources.clone()),
                running_ms: loaded.running_ms,
                trash: Arc::new(loaded.trash.clone()),
                guard: Arc::new(loaded.guard.clone()),
                forgotten: 0,
            }),
            events: broadcast::channel(FOLLOWERS).0,
        }
    }

    /// Everything as it is now.
    pub(super) async fn state(&self) -> State {
        self.state.lock().await.clone()
    }

    /// One VM as it is now.
    pub(super) async fn vm(&self, uid: VmUid) -> Option<VmIntent> {
        self.state.lock().await.intents.vms.get(&uid).cloned()
    }

    /// Makes a whole new state of the present one.
    pub(super) async fn replace<T>(
        &self,
        next: impl FnOnce(&State) -> (State, Vec<NewEvent>, T),
    ) -> Result<T, StoreError> {
        let mut state = self.state.lock().await;
        let (after, events, answer) = next(&state);
        let mut batch = Batch::between(
            (&state.intents, &state.sources),
            (&after.intents, &after.sources),
        );
        batch.events = events;
        let counted = after.running_ms != state.running_ms;
        batch.running_ms = counted.then_some(after.running_ms);
        let moved = after.trash != state.trash;
        batch.trash = moved.then(|| Arc::clone(&after.trash));
        let guarded = after.guard != state.guard;
        batch.guard = guarded.then(|| Arc::clone(&after.guard));
        self.commit_rows(&mut state, batch).await?;
        *state = after;
        Ok(answer)
    }

    /// Changes one VM, if it is still there and `change` changed it.
    pub(super) async fn change_vm(
        &self,
        uid: VmUid,
        events: Vec<NewEvent>,
        change: impl FnOnce(&mut VmIntent, &Intents),
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        let mut batch = Batch {
            events,
            ..Batch::default()
        };
        let mut changed = None;
        if let Some(before) = state.intents.vms.get(&uid) {
            let mut vm = before.clone();
            change(&mut vm, &state.intents);
            if vm != *before {
                batch.put.push(Row {
                    intent: Intent::Vm(Box::new(vm.clone())),
                    source: state.sources.get(&uid).cloned(),
                });
                changed = Some(vm);
            }
        }
        self.commit_rows(&mut state, batch).await?;
        if let Some(vm) = changed {
            Arc::make_mut(&mut state.intents).vms.insert(uid, vm);
        }
        Ok(())
    }

    /// As [`Self::change_vm`], for an image.
    pub(super) async fn change_image(
        &self,
        uid: VmUid,
        events: Vec<NewEvent>,
        change: impl FnOnce(&mut ImageIntent),
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        let mut batch = Batch {
            events,
            ..Batch::default()
        };
        let mut changed = None;
        if let Some(before) = state.intents.images.get(&uid) {
            let mut image = before.clone();
            change(&mut image);
            if image != *before {
                batch.put.push(Row {
                    intent: Intent::Image(Box::new(image.clone())),
                    source: state.sources.get(&uid).cloned(),
                });
                changed = Some(image);
            }
        }
        self.commit_rows(&mut state, batch).await?;
        if let Some(image) = changed {
            Arc::make_mut(&mut state.intents).images.insert(uid, image);
        }
        Ok(())
    }

    /// Removes an object's row.
    pub(super) async fn forget(&self, uid: VmUid, events: Vec<NewEvent>) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        let batch = Batch {
            remove: vec![uid],
            events,
            ..Batch::default()
        };
        self.commit_rows(&mut state, batch).await?;
        state.forgotten += 1;
        let intents = Arc::make_mut(&mut state.intents);
        intents.vms.remove(&uid);
        intents.images.remove(&uid);
        Arc::make_mut(&mut state.sources).remove(&uid);
        Ok(())
    }

    /// A new boot of the host: readings of the old boot's clock mean nothing.
    /// How often something failed is kept.
    pub(super) async fn enter_boot(&self, boot_id: &str) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        let mut intents = Intents::clone(&state.intents);
        for vm in intents.vms.values_mut() {
            vm.crash.not_before_ms = 0;
            vm.error.not_before_ms = 0;
        }
        for image in intents.images.values_mut() {
            image.error.not_before_ms = 0;
        }
        let mut batch =
            Batch::between((&state.intents, &state.sources), (&intents, &state.sources));
        batch.boot_id = Some(boot_id.to_owned());
        self.commit_rows(&mut state, batch).await?;
        state.intents = Arc::new(intents);
        Ok(())
    }

    /// Writes conditions and events.
    pub(super) async fn note(
        &self,
        conditions: Vec<(VmUid, Vec<Condition>)>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.commit(Batch {
            conditions,
            events,
            ..Batch::default()
        })
        .await
    }

    /// The events so far, and those to come.
    pub(super) async fn events(
        &self,
        object: Option<(Kind, Name)>,
    ) -> Result<(Vec<Event>, broadcast::Receiver<Event>), StoreError> {
        // Subscribed first, so that none falls in between.
        let follow = self.events.subscribe();
        Ok((self.store.events(object).await?, follow))
    }

    /// Writes rows. A write that failed may be on the disk all the same, its
    /// answer lost; to go on from what memory says would then mint a second
    /// uid for a name that has one. So what the disk says holds.
    async fn commit_rows(&self, state: &mut State, batch: Batch) -> Result<(), StoreError> {
        let written = self.commit(batch).await;
        if written.is_err()
            && let Ok((intents, sources)) = self.store.objects().await
            && let Ok(guard) = self.store.guard().await
        {
            *state = State {
                intents: Arc::new(intents),
                sources: Arc::new(sources),
                guard: Arc::new(guard),
                // A row may have gone.
                forgotten: state.forgotten + 1,
                ..state.clone()
            };
        }
        written
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        for event in self.store.commit(batch).await? {
            tracing::info!(
                "{}/{} {}: {}",
                event.kind.short(),
                event.name,
                event.reason,
                event.message
            );
            // Nobody may be following.
            let _ = self.events.send(event);
        }
        Ok(())
    }
}
