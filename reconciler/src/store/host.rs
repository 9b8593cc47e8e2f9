//! Table `host`: which boot of the host the back-offs were written in. Their
//! readings of the boot clock mean nothing in another boot.

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

pub(super) const SCHEMA: &str = "
CREATE TABLE host (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    boot_id TEXT NOT NULL
) STRICT;
";

/// Writes the boot id.
pub(super) fn put(connection: &Connection, boot_id: &str) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO host (one, boot_id) VALUES (1, ?1)
         ON CONFLICT (one) DO UPDATE SET boot_id = excluded.boot_id",
        [boot_id],
    )?;
    Ok(())
}

/// The boot id, if one was ever written.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT boot_id FROM host", (), |row| row.get(0))
        .optional()
}
