//! Writes that fail, hang or are the daemon's last, for tests. Every write of
//! the daemon's is a [`Batch`], so this is the one place where they can.

use banger_testkit::{Faults, When, heard};
use rusqlite::ffi;

use super::{Batch, StoreError};

impl Batch {
    /// Names the write by what it writes, whatever the objects are called.
    pub(super) fn site(&self) -> String {
        let mut words = vec!["writing".to_owned()];
        let mut kinds: Vec<_> = self
            .put
            .iter()
            .map(|row| row.intent.kind().short())
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        words.extend(kinds.into_iter().map(str::to_owned));
        for (there, word) in [
            (!self.remove.is_empty(), "a removal"),
            (!self.conditions.is_empty(), "conditions"),
            (self.boot_id.is_some(), "the boot"),
            (self.guard.is_some(), "the mass guard"),
        ] {
            words.extend(there.then(|| word.to_owned()));
        }
        words.extend(self.events.iter().map(|event| event.reason.to_owned()));
        words.join(" ")
    }
}

fn full(message: String) -> StoreError {
    let error = ffi::Error::new(ffi::SQLITE_FULL);
    StoreError::Sqlite(rusqlite::Error::SqliteFailure(error, Some(message)))
}

pub(super) async fn before(
    faults: Option<&Faults>,
    site: &str,
) -> Result<Option<When>, StoreError> {
    match faults {
        Some(faults) => heard(faults.enter(site, false)).await.map_err(full),
        None => Ok(None),
    }
}

pub(super) async fn after(
    faults: Option<&Faults>,
    site: &str,
    fault: Option<When>,
) -> Result<(), StoreError> {
    match faults {
        Some(faults) => heard(faults.leave(site, fault)).await.map_err(full),
        None => Ok(()),
    }
}
