//! Opening the database: refuse what can't be trusted, then migrate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use banger_core::api::Condition;
use banger_core::intent::Intents;
use banger_protocol::VmUid;
use rusqlite::{Connection, ErrorCode};

use super::{Kept, OpenError, condition, host, migration, object, trash};

/// Everything that the daemon knew when it last wrote.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The intents.
    pub intents: Intents,
    /// The file that each object was last declared in.
    pub sources: BTreeMap<VmUid, PathBuf>,
    /// The conditions as last published.
    pub conditions: BTreeMap<VmUid, Vec<Condition>>,
    /// The boot of the host that the back-offs are of.
    pub boot_id: Option<String>,
    /// How long the daemon has run in all, milliseconds.
    pub running_ms: u64,
    /// What is known of entries of the trash.
    pub trash: BTreeMap<String, Kept>,
}

/// Opens the database at `path`, checks it, migrates it and reads it.
pub(super) fn open(path: &Path) -> Result<(Connection, Loaded), OpenError> {
    let mut connection = connect(path)?;
    migration::migrate(&mut connection, migration::LATEST).map_err(|source| {
        OpenError::Migration {
            path: path.to_owned(),
            source,
        }
    })?;
    let loaded = load(&connection, path)?;
    Ok((connection, loaded))
}

/// A connection to a sound database of a known version, not yet migrated.
pub(super) fn connect(path: &Path) -> Result<Connection, OpenError> {
    let explain = |source| explain(path, source);
    let connection = Connection::open(path).map_err(explain)?;
    let found = migration::version(&connection).map_err(explain)?;
    if found > migration::LATEST {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: migration::LATEST,
        });
    }
    let check: String = connection
        .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
        .map_err(explain)?;
    if check != "ok" {
        return Err(OpenError::Damaged {
            path: path.to_owned(),
            detail: check,
        });
    }
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
        .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
        .map_err(explain)?;
    Ok(connection)
}

fn load(connection: &Connection, path: &Path) -> Result<Loaded, OpenError> {
    let (intents, sources) = object::load(connection).map_err(|error| match error {
        object::LoadError::Sqlite(source) => explain(path, source),
        object::LoadError::Json(object, source) => OpenError::Unreadable {
            path: path.to_owned(),
            object,
            source,
        },
    })?;
    let (running_ms, trash) = trash::load(connection).map_err(|source| explain(path, source))?;
    Ok(Loaded {
        running_ms,
        trash,
        intents,
        sources,
        conditions: condition::load(connection).map_err(|source| explain(path, source))?,
        boot_id: host::load(connection).map_err(|source| explain(path, source))?,
    })
}

fn explain(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged {
            path,
            detail: source.to_string(),
        },
        _ => OpenError::Sqlite { path, source },
    }
}
