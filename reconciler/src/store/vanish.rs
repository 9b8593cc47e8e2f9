//! Tables `held` and `vanished`: what the mass guard holds, and when objects
//! went by themselves, by the daemon's running time. Without them a restart
//! would let go of what nobody confirmed.

use banger_core::api::{Kind, Name};
use banger_core::vanish::Guard;
use rusqlite::Connection;

use super::StoreError;

pub(super) const SCHEMA: &str = "
CREATE TABLE held (
    kind TEXT NOT NULL CHECK (kind IN ('Image', 'VirtualMachine')),
    name TEXT NOT NULL,
    why  TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT;
CREATE TABLE vanished (
    kind TEXT NOT NULL CHECK (kind IN ('Image', 'VirtualMachine')),
    ms   INTEGER NOT NULL
) STRICT;
";

/// Writes it in place of what was.
pub(super) fn put(connection: &Connection, guard: &Guard) -> Result<(), StoreError> {
    connection.execute("DELETE FROM held", ())?;
    let mut insert =
        connection.prepare_cached("INSERT INTO held (kind, name, why) VALUES (?1, ?2, ?3)")?;
    for ((kind, name), why) in &guard.held {
        insert.execute((kind.as_str(), name.as_str(), why))?;
    }
    connection.execute("DELETE FROM vanished", ())?;
    let mut insert =
        connection.prepare_cached("INSERT INTO vanished (kind, ms) VALUES (?1, ?2)")?;
    for (ms, kind) in &guard.recent {
        insert.execute((kind.as_str(), ms.cast_signed()))?;
    }
    Ok(())
}

/// All of it.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Guard> {
    let mut statement = connection.prepare("SELECT kind, name, why FROM held")?;
    let held = statement.query_map((), |row| {
        let name: String = row.get(1)?;
        let why: String = row.get(2)?;
        // A name that no object can have holds nothing.
        let name = name.parse::<Name>().ok();
        let kind = kind(&row.get::<_, String>(0)?);
        Ok(name.map(|name| ((kind, name), why)))
    })?;
    let held = held
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    let mut statement = connection.prepare("SELECT ms, kind FROM vanished ORDER BY ms")?;
    let recent = statement.query_map((), |row| {
        let ms: i64 = row.get(0)?;
        Ok((ms.cast_unsigned(), kind(&row.get::<_, String>(1)?)))
    })?;
    Ok(Guard {
        held,
        recent: recent.collect::<Result<_, _>>()?,
    })
}

fn kind(text: &str) -> Kind {
    if text == Kind::Image.as_str() {
        Kind::Image
    } else {
        Kind::VirtualMachine
    }
}
