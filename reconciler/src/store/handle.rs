//! The open database. SQLite blocks, the daemon doesn't: every call runs on a
//! thread of the runtime's blocking pool.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use banger_core::api::{Kind, Name};
use banger_core::intent::Intents;
use banger_core::vanish::Guard;
use banger_protocol::VmUid;
use jiff::Timestamp;
use rusqlite::Connection;

use super::backup::DATABASE;
use super::lock::Lock;
use super::{
    Batch, EVENT_CAP, Loaded, OpenError, StoreError, condition, event, host, object, open, trash,
    vanish,
};
use crate::wire::response::Event;

/// The open database. Clones share it; it closes when the last one goes.
#[derive(Clone, Debug)]
pub struct Store {
    // The connection before the lock: fields are dropped in this order.
    open: Arc<(Mutex<Connection>, Lock)>,
    /// Where a test makes writes fail.
    #[cfg(test)]
    pub(crate) faults: Option<banger_testkit::Faults>,
}

impl Store {
    /// Takes the lock of the state directory and opens `banger.db` in it.
    /// Blocks; the directory must exist.
    pub fn open(state_dir: &Path) -> Result<(Self, Loaded), OpenError> {
        let lock = Lock::take(state_dir)?;
        let (connection, loaded) = open::open(&state_dir.join(DATABASE))?;
        let open = Arc::new((Mutex::new(connection), lock));
        let store = Self {
            open,
            #[cfg(test)]
            faults: None,
        };
        Ok((store, loaded))
    }

    /// Writes a batch in one transaction; it is durable when this answers.
    /// Answers the batch's events as they stand.
    pub async fn commit(&self, batch: Batch) -> Result<Vec<Event>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        #[cfg(test)]
        let site = batch.site();
        #[cfg(test)]
        let fault = super::fault::before(self.faults.as_ref(), &site).await?;
        let now = Timestamp::now();
        let written = self
            .with(move |connection| commit(connection, &batch, now))
            .await;
        #[cfg(test)]
        super::fault::after(self.faults.as_ref(), &site, fault).await?;
        written
    }

    /// All objects as they are on the disk, and the file that each was last
    /// declared in.
    pub async fn objects(&self) -> Result<(Intents, BTreeMap<VmUid, PathBuf>), StoreError> {
        self.with(|connection| Ok(object::load(connection)?)).await
    }

    /// What the mass guard goes by, as it is on the disk.
    pub async fn guard(&self) -> Result<Guard, StoreError> {
        self.with(|connection| Ok(vanish::load(connection)?)).await
    }

    /// Events, oldest first; of one object, or all.
    pub async fn events(&self, object: Option<(Kind, Name)>) -> Result<Vec<Event>, StoreError> {
        self.with(move |connection| event::list(connection, object.as_ref()))
            .await
    }

    /// Whoever asked may go meanwhile; the work is done all the same.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let open = Arc::clone(&self.open);
        tokio::task::spawn_blocking(move || {
            // A transaction that a panic ended was rolled back.
            let mut connection = open.0.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection)
        })
        .await
        .map_err(|_| StoreError::Closed)?
    }
}

/// Writes a batch in one transaction.
pub(super) fn commit(
    connection: &mut Connection,
    batch: &Batch,
    now: Timestamp,
) -> Result<Vec<Event>, StoreError> {
    let transaction = connection.transaction()?;
    for uid in &batch.remove {
        object::remove(&transaction, *uid)?;
    }
    for row in &batch.put {
        object::put(&transaction, row)?;
    }
    for (uid, conditions) in &batch.conditions {
        condition::put(&transaction, *uid, conditions)?;
    }
    if let Some(boot_id) = &batch.boot_id {
        host::put(&transaction, boot_id)?;
    }
    if let Some(ms) = batch.running_ms {
        trash::put_running(&transaction, ms)?;
    }
    if let Some(entries) = &batch.trash {
        trash::put(&transaction, entries)?;
    }
    if let Some(guard) = &batch.guard {
        vanish::put(&transaction, guard)?;
    }
    let events = event::append(&transaction, &batch.events, now, EVENT_CAP)?;
    transaction.commit()?;
    Ok(events)
}
