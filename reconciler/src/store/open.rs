//! Opening the database: refuse what can't be trusted, then migrate.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use banger_core::api::Condition;
use banger_core::intent::Intents;
use banger_core::vanish::Guard;
use banger_protocol::VmUid;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};

use super::{Kept, OpenError, backup, condition, host, migration, object, trash, vanish};

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
    /// What the mass guard goes by.
    pub guard: Guard,
}

/// Opens the database at `path`, checks it, migrates it and reads it.
pub(super) fn open(path: &Path) -> Result<(Connection, Loaded), OpenError> {
    refuse_emptied(path)?;
    refuse_unwritable(path)?;
    let mut connection = connect(path)?;
    let version = known_version(&connection, path)?;
    if backup::is_old(version) {
        let copied = backup::before_migration(&connection, path, version, Timestamp::now());
        copied.map_err(|source| OpenError::Backup {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
    }
    migration::migrate(&mut connection, migration::LATEST).map_err(|source| match source {
        rusqlite_migration::Error::RusqliteError { err, .. } if is_of_the_disk(&err) => {
            explain(path, err)
        }
        source => OpenError::Migration {
            path: path.to_owned(),
            source,
        },
    })?;
    let loaded = load(&connection, path, migration::LATEST)?;
    Ok((connection, loaded))
}

/// A connection to a sound database of a known version, not yet migrated.
pub(super) fn connect(path: &Path) -> Result<Connection, OpenError> {
    let explain = |source| explain(path, source);
    let connection = Connection::open(path).map_err(explain)?;
    // What SQLite sorts would be below /var/tmp otherwise, which the daemon can't write.
    connection
        .pragma_update(None, "temp_store", "MEMORY")
        .map_err(explain)?;
    known_version(&connection, path)?;
    let check: String = connection
        .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
        .map_err(explain)?;
    sound(path, check)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
        .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
        .map_err(explain)?;
    Ok(connection)
}

/// The schema's version, unless a newer program wrote it.
pub(super) fn known_version(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let found = migration::version(connection).map_err(|source| explain(path, source))?;
    if found > migration::LATEST {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: migration::LATEST,
        });
    }
    Ok(found)
}

/// Every page, index and reference (`PRAGMA integrity_check`, `foreign_key_check`).
pub(super) fn check_whole(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let explain = |source| explain(path, source);
    let check: String = connection
        .query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))
        .map_err(explain)?;
    sound(path, check)?;
    let mut dangling = connection
        .prepare("PRAGMA foreign_key_check")
        .map_err(explain)?;
    let mut rows = dangling.query(()).map_err(explain)?;
    match rows.next().map_err(explain)? {
        None => Ok(()),
        Some(row) => {
            let table: String = row.get(0).map_err(explain)?;
            sound(path, format!("a row of `{table}` refers to nothing"))
        }
    }
}

fn sound(path: &Path, check: String) -> Result<(), OpenError> {
    if check == "ok" {
        return Ok(());
    }
    Err(OpenError::Damaged {
        path: path.to_owned(),
        detail: check,
    })
}

/// To SQLite a file without a byte is a new database. Where VMs have disks
/// beside it, it is one that lost everything.
fn refuse_emptied(path: &Path) -> Result<(), OpenError> {
    let is_emptied = path.metadata().is_ok_and(|found| found.len() == 0);
    if !is_emptied {
        return Ok(());
    }
    let vms = path.with_file_name("vms");
    match holds_any(&vms) {
        Ok(false) => Ok(()),
        Ok(true) => sound(path, "it is empty, but there are disks of VMs".into()),
        Err(error) => {
            let vms = vms.display();
            let detail = format!("it is empty, and {vms} can't be read for disks: {error}");
            sound(path, detail)
        }
    }
}

/// Whether anything lies in a directory; nothing does in one that isn't there.
fn holds_any(directory: &Path) -> io::Result<bool> {
    match std::fs::read_dir(directory) {
        Ok(mut found) => found.next().transpose().map(|first| first.is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// SQLite opens what it may not write for reading, tells so at the first write,
/// and gives its log the same mode, which then outlives the remedy.
fn refuse_unwritable(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match File::options().read(true).write(true).open(&file) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(OpenError::Unwritable {
                    path: file.into(),
                    source,
                });
            }
        }
    }
    Ok(())
}

/// Reads everything of a database of this version.
pub(super) fn load(
    connection: &Connection,
    path: &Path,
    version: i64,
) -> Result<Loaded, OpenError> {
    if version == 0 {
        return Ok(Loaded::default());
    }
    let (intents, sources) = object::load(connection).map_err(|error| match error {
        object::LoadError::Sqlite(source) => explain(path, source),
        object::LoadError::Json(object, source) => OpenError::Unreadable {
            path: path.to_owned(),
            object,
            source,
        },
    })?;
    // Tables that came later.
    let boot_id = match version {
        ..2 => None,
        _ => host::load(connection).map_err(|source| explain(path, source))?,
    };
    let (running_ms, trash) = match version {
        ..3 => Default::default(),
        _ => trash::load(connection).map_err(|source| explain(path, source))?,
    };
    let guard = match version {
        ..4 => Guard::default(),
        _ => vanish::load(connection).map_err(|source| explain(path, source))?,
    };
    Ok(Loaded {
        running_ms,
        trash,
        guard,
        intents,
        sources,
        conditions: condition::load(connection).map_err(|source| explain(path, source))?,
        boot_id,
    })
}

/// What SQLite's error means for the person whose database it is.
pub(super) fn explain(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged {
            path,
            detail: source.to_string(),
        },
        Some(ErrorCode::DiskFull) => OpenError::Full { path, source },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            OpenError::ReadOnly { path, source }
        }
        _ => OpenError::Sqlite { path, source },
    }
}

fn is_of_the_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
        )
    )
}
