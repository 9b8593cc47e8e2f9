//! Table `object`: one row per VM and image, the intent as JSON.
//!
//! Name and slot stand in columns of their own so that SQLite itself keeps
//! them unique, whatever the program does.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use banger_core::api::Kind;
use banger_core::intent::Intents;
use banger_protocol::VmUid;
use rusqlite::Connection;

use super::StoreError;
use super::batch::{Intent, Row};

pub(super) const SCHEMA: &str = "
CREATE TABLE object (
    uid        TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('Image', 'VirtualMachine')),
    name       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    slot       INTEGER UNIQUE,
    intent     TEXT NOT NULL CHECK (json_valid(intent)),
    source     BLOB,
    UNIQUE (kind, name),
    CHECK ((kind = 'VirtualMachine') = (slot IS NOT NULL))
) STRICT;
";

/// Inserts a row or replaces its content; conditions of the uid stay.
pub(super) fn put(connection: &Connection, row: &Row) -> Result<(), StoreError> {
    let (slot, generation, json) = match &row.intent {
        Intent::Vm(vm) => (
            Some(vm.allocation.slot.get()),
            vm.generation,
            serde_json::to_string(vm)?,
        ),
        Intent::Image(image) => (None, image.generation, serde_json::to_string(image)?),
    };
    connection
        .prepare_cached(
            "INSERT INTO object (uid, kind, name, generation, slot, intent, source)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (uid) DO UPDATE SET name = excluded.name, generation = excluded.generation,
               slot = excluded.slot, intent = excluded.intent, source = excluded.source",
        )?
        .execute((
            row.intent.uid().to_string(),
            row.intent.kind().as_str(),
            row.intent.name().as_str(),
            generation.cast_signed(),
            slot,
            json,
            row.source.as_ref().map(|path| path.as_os_str().as_bytes()),
        ))?;
    Ok(())
}

/// Removes a row, and with it its conditions.
pub(super) fn remove(connection: &Connection, uid: VmUid) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM object WHERE uid = ?1")?
        .execute([uid.to_string()])?;
    Ok(())
}

/// A row that can't be read.
#[derive(Debug)]
pub(super) enum LoadError {
    Sqlite(rusqlite::Error),
    Json(String, serde_json::Error),
}

impl From<rusqlite::Error> for LoadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<LoadError> for StoreError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Sqlite(error) => Self::Sqlite(error),
            LoadError::Json(_, error) => Self::Json(error),
        }
    }
}

/// All rows, and the file that each was last declared in.
pub(super) fn load(
    connection: &Connection,
) -> Result<(Intents, BTreeMap<VmUid, PathBuf>), LoadError> {
    let mut intents = Intents::default();
    let mut sources = BTreeMap::new();
    let mut statement =
        connection.prepare("SELECT kind, name, intent, source FROM object ORDER BY uid")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let kind: String = row.get(0)?;
        let name: String = row.get(1)?;
        let json: String = row.get(2)?;
        let source: Option<Vec<u8>> = row.get(3)?;
        let unreadable = |error| LoadError::Json(format!("{kind} {name}"), error);
        let uid = if kind == Kind::Image.as_str() {
            let image: banger_core::intent::ImageIntent =
                serde_json::from_str(&json).map_err(unreadable)?;
            let uid = image.uid;
            intents.images.insert(uid, image);
            uid
        } else {
            let vm: banger_core::intent::VmIntent =
                serde_json::from_str(&json).map_err(unreadable)?;
            let uid = vm.uid;
            intents.vms.insert(uid, vm);
            uid
        };
        if let Some(bytes) = source {
            sources.insert(uid, PathBuf::from(OsStr::from_bytes(&bytes)));
        }
    }
    Ok((intents, sources))
}
