//! Table `event`: what happened to objects, the newest [`EVENT_CAP`] of it.
//!
//! An event that says the same as the last one of its object counts that one
//! up instead of adding a row.

use banger_core::api::{Kind, Name};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::StoreError;
use crate::wire::response::{Event, Severity};

/// How many events are kept.
pub const EVENT_CAP: u32 = 10_000;

pub(super) const SCHEMA: &str = "
CREATE TABLE event (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    time     TEXT NOT NULL,
    count    INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    severity TEXT NOT NULL,
    reason   TEXT NOT NULL,
    message  TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_object ON event (kind, name, id);
";

const COLUMNS: &str = "id, time, count, kind, name, severity, reason, message";

/// An event that isn't written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The object's kind.
    pub kind: Kind,
    /// The object's name; a VM that only the host knows has its uid here.
    pub name: String,
    /// How grave.
    pub severity: Severity,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

/// Writes events, and answers them as they stand now.
pub(super) fn append(
    connection: &Connection,
    events: &[NewEvent],
    now: Timestamp,
    cap: u32,
) -> Result<Vec<Event>, StoreError> {
    let mut written = Vec::with_capacity(events.len());
    for new in events {
        let last = connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM event WHERE kind = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1"
            ))?
            .query_row((new.kind.as_str(), &new.name), read)
            .optional()?;
        let event = match last {
            Some(last)
                if last.reason == new.reason
                    && last.message == new.message
                    && last.severity == new.severity =>
            {
                let event = Event {
                    count: last.count.saturating_add(1),
                    time: now,
                    ..last
                };
                connection
                    .prepare_cached("UPDATE event SET count = ?2, time = ?3 WHERE id = ?1")?
                    .execute((event.id.cast_signed(), event.count, now.to_string()))?;
                event
            }
            _ => {
                connection
                    .prepare_cached(
                        "INSERT INTO event (time, count, kind, name, severity, reason, message)
                         VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute((
                        now.to_string(),
                        new.kind.as_str(),
                        &new.name,
                        severity(new.severity),
                        new.reason,
                        &new.message,
                    ))?;
                Event {
                    id: connection.last_insert_rowid().cast_unsigned(),
                    time: now,
                    count: 1,
                    kind: new.kind,
                    name: new.name.clone(),
                    severity: new.severity,
                    reason: new.reason.to_owned(),
                    message: new.message.clone(),
                }
            }
        };
        written.push(event);
    }
    if !events.is_empty() {
        connection
            .prepare_cached("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1")?
            .execute([cap])?;
    }
    Ok(written)
}

/// Events, oldest first; of one object, or all.
pub(super) fn list(
    connection: &Connection,
    object: Option<&(Kind, Name)>,
) -> Result<Vec<Event>, StoreError> {
    let (kind, name) = match object {
        Some((kind, name)) => (Some(kind.as_str()), Some(name.as_str())),
        None => (None, None),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event
         WHERE ?1 IS NULL OR (kind = ?1 AND name = ?2) ORDER BY id"
    ))?;
    let events = statement.query_map((kind, name), read)?;
    Ok(events.collect::<Result<_, _>>()?)
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Event> {
    let time: String = row.get(1)?;
    let kind: String = row.get(3)?;
    let severity: String = row.get(5)?;
    Ok(Event {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        time: time.parse().unwrap_or(Timestamp::UNIX_EPOCH),
        count: row.get(2)?,
        kind: if kind == Kind::Image.as_str() {
            Kind::Image
        } else {
            Kind::VirtualMachine
        },
        name: row.get(4)?,
        severity: if severity == "Normal" {
            Severity::Normal
        } else {
            Severity::Warning
        },
        reason: row.get(6)?,
        message: row.get(7)?,
    })
}
