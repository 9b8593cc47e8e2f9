//! The schema, one migration after the other. `user_version` counts them, and
//! the table `migration` says when each ran and under which program.
//!
//! A migration that was released is never edited; a new one is added.

use rusqlite::{Connection, Transaction};
use rusqlite_migration::{M, Migrations};

use super::{condition, event, host, object, trash, vanish};

/// The newest schema that this program knows.
pub(super) const LATEST: i64 = 4;

const HISTORY: &str = "
CREATE TABLE migration (
    version INTEGER PRIMARY KEY,
    time    TEXT NOT NULL,
    program TEXT NOT NULL
) STRICT;
";

fn record(version: i64) -> impl Fn(&Transaction) -> rusqlite_migration::HookResult + Clone {
    move |tx: &Transaction| {
        tx.execute(
            "INSERT INTO migration (version, time, program) VALUES (?1, ?2, ?3)",
            (
                version,
                jiff::Timestamp::now().to_string(),
                concat!("bangerd ", env!("CARGO_PKG_VERSION")),
            ),
        )?;
        Ok(())
    }
}

/// Brings a database to version `to`, each migration in its own transaction.
pub(super) fn migrate(
    connection: &mut Connection,
    to: i64,
) -> Result<(), rusqlite_migration::Error> {
    let first = [HISTORY, object::SCHEMA, condition::SCHEMA, event::SCHEMA].concat();
    Migrations::new(vec![
        M::up_with_hook(&first, record(1)),
        M::up_with_hook(host::SCHEMA, record(2)),
        M::up_with_hook(trash::SCHEMA, record(3)),
        M::up_with_hook(vanish::SCHEMA, record(4)),
    ])
    .to_version(connection, usize::try_from(to).unwrap_or(0))
}

/// The version of a database; 0 for an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
