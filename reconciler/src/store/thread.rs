//! The store's own thread: SQLite blocks, the daemon doesn't.
//!
//! Commits are carried out in the order in which they were asked for.

use std::path::Path;

use banger_core::api::{Kind, Name};
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::lock::Lock;
use super::{
    Batch, EVENT_CAP, Loaded, OpenError, StoreError, condition, event, host, object, open,
};
use crate::wire::response::Event;

enum Job {
    Commit(
        Box<Batch>,
        Timestamp,
        oneshot::Sender<Result<Vec<Event>, StoreError>>,
    ),
    Events(
        Option<(Kind, Name)>,
        oneshot::Sender<Result<Vec<Event>, StoreError>>,
    ),
}

/// The open database. Clones share it; it closes when the last one goes.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Store {
    /// Takes the lock of the state directory and opens `banger.db` in it.
    /// Blocks; the directory must exist.
    pub fn open(state_dir: &Path) -> Result<(Self, Loaded), OpenError> {
        let lock = Lock::take(state_dir)?;
        let (connection, loaded) = open::open(&state_dir.join("banger.db"))?;
        let (jobs, queue) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                serve(connection, queue);
                drop(lock);
            })
            .map_err(|source| OpenError::Directory {
                path: state_dir.to_owned(),
                source,
            })?;
        Ok((Self { jobs }, loaded))
    }

    /// Writes a batch in one transaction; it is durable when this answers.
    /// Answers the batch's events as they stand.
    pub async fn commit(&self, batch: Batch) -> Result<Vec<Event>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, receive) = oneshot::channel();
        self.jobs
            .send(Job::Commit(Box::new(batch), Timestamp::now(), answer))
            .map_err(|_| StoreError::Closed)?;
        receive.await.map_err(|_| StoreError::Closed)?
    }

    /// Events, oldest first; of one object, or all.
    pub async fn events(&self, object: Option<(Kind, Name)>) -> Result<Vec<Event>, StoreError> {
        let (answer, receive) = oneshot::channel();
        self.jobs
            .send(Job::Events(object, answer))
            .map_err(|_| StoreError::Closed)?;
        receive.await.map_err(|_| StoreError::Closed)?
    }
}

fn serve(mut connection: Connection, mut queue: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        // Whoever asked may have gone; the work is done all the same.
        match job {
            Job::Commit(batch, now, answer) => {
                let _ = answer.send(commit(&mut connection, &batch, now));
            }
            Job::Events(object, answer) => {
                let _ = answer.send(event::list(&connection, object.as_ref()));
            }
        }
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
    let events = event::append(&transaction, &batch.events, now, EVENT_CAP)?;
    transaction.commit()?;
    Ok(events)
}
