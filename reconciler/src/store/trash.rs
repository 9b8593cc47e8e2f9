//! Tables `running` and `trash`: how long the daemon has run in all, and by
//! that clock since when each entry of the trash is waited for. What lies in
//! the trash is for its directory to say, not for these tables.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::StoreError;

pub(super) const SCHEMA: &str = "
CREATE TABLE running (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ms  INTEGER NOT NULL
) STRICT;
CREATE TABLE trash (
    id       TEXT PRIMARY KEY,
    since_ms INTEGER NOT NULL,
    wanted   INTEGER NOT NULL CHECK (wanted IN (0, 1))
) STRICT;
";

/// What is known of an entry beside what it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Running time at which it was first seen, milliseconds.
    pub since_ms: u64,
    /// `banger undelete` asked for it.
    pub wanted: bool,
}

/// Writes the running time.
pub(super) fn put_running(connection: &Connection, ms: u64) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO running (one, ms) VALUES (1, ?1)
         ON CONFLICT (one) DO UPDATE SET ms = excluded.ms",
        [ms.cast_signed()],
    )?;
    Ok(())
}

/// Writes what is known of the entries, in place of all that was.
pub(super) fn put(
    connection: &Connection,
    entries: &BTreeMap<String, Kept>,
) -> Result<(), StoreError> {
    connection.execute("DELETE FROM trash", ())?;
    let mut insert = connection
        .prepare_cached("INSERT INTO trash (id, since_ms, wanted) VALUES (?1, ?2, ?3)")?;
    for (id, kept) in entries {
        insert.execute((id, kept.since_ms.cast_signed(), kept.wanted))?;
    }
    Ok(())
}

/// Running time and entries.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<(u64, BTreeMap<String, Kept>)> {
    let mut running = connection.prepare("SELECT ms FROM running")?;
    let mut ms = running.query_map((), |row| row.get::<_, i64>(0))?;
    let ms = ms.next().transpose()?.unwrap_or(0);
    let mut statement = connection.prepare("SELECT id, since_ms, wanted FROM trash")?;
    let entries = statement.query_map((), |row| {
        let kept = Kept {
            since_ms: row.get::<_, i64>(1)?.cast_unsigned(),
            wanted: row.get(2)?,
        };
        Ok((row.get(0)?, kept))
    })?;
    Ok((ms.cast_unsigned(), entries.collect::<Result<_, _>>()?))
}
