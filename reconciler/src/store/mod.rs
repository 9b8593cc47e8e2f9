//! Durable intent in SQLite: what every object is, its conditions, its events.
//!
//! ```text
//! open: lock -> version check -> quick_check -> backup -> migrate -> Store
//! pass: Batch -> one transaction -> the events as they were written
//! ```
//!
//! Guarantees: a [`Batch`] is on the disk wholly or not at all once
//! [`Store::commit`] answered (WAL, `synchronous=FULL`); nothing is ever
//! deleted to get past an error; one daemon per state directory.
//! Assumes a local file system (SQLite's locks, `flock`).

mod backup;
mod batch;
mod condition;
mod error;
mod event;
#[cfg(test)]
mod fault;
mod handle;
mod host;
mod lock;
mod migration;
mod object;
mod open;
mod trash;
mod vanish;

#[cfg(test)]
mod tests;

pub use backup::{BackupError, Checked, backup, check, restore};
pub use batch::{Batch, Intent, Row};
pub use error::{OpenError, StoreError};
pub use event::{EVENT_CAP, NewEvent};
pub use handle::Store;
pub use open::Loaded;
pub use trash::Kept;
