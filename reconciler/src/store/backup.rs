//! Copies of the database, made and put back by SQLite's own backup interface
//! (sqlite.org/backup.html), so that one is whole even while the daemon writes.
//!
//! ```text
//! backup:  database -> draft -> checked -> synced -> its name
//! restore: lock -> file checked -> draft -> old one set aside -> its name
//! ```
//!
//! Guarantees: nothing is written over but by rename(2), and never a file that
//! somebody named; what is restored has been checked and read first; the
//! database that a restore replaces is kept beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::lock::Lock;
use super::{OpenError, migration, open};
use crate::act::files;

/// The database's name in a state directory.
pub(super) const DATABASE: &str = "banger.db";
/// Copies from before a migration that are kept.
const COPIES: usize = 3;
/// Pages that are copied before others get the lock (4 KiB each).
const PAGES: i32 = 1024;
/// How long others get it.
const PAUSE: Duration = Duration::from_millis(5);

/// A copy couldn't be made or put back. What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database, or the copy, isn't as it should be.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// There is no such file.
    #[error("there is no database {}", .0.display())]
    Missing(PathBuf),
    /// The copy would take the place of something.
    #[error("{} is there already: choose another name", .0.display())]
    Exists(PathBuf),
    /// Reading or writing failed.
    #[error("can't write the copy {}: see that its disk isn't full and that you may write there", .path.display())]
    Io {
        /// The copy.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// SQLite gave up.
    #[error("can't copy the database to {}: see that its disk isn't full", .path.display())]
    Sqlite {
        /// The copy.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

/// What a check found, where all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The schema's version.
    pub version: i64,
    /// VMs.
    pub vms: usize,
    /// Images.
    pub images: usize,
}

/// Copies the database of a state directory to `to`, which must not exist.
/// The daemon may run.
///
/// # Errors
/// See [`BackupError`]; nothing is left at `to`.
pub fn backup(state_dir: &Path, to: &Path) -> Result<Checked, BackupError> {
    let from = existing(&state_dir.join(DATABASE))?;
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let source = reader(&from)?;
    copy(&source, to)?;
    check_file(to)
}

/// Checks the database of a state directory: every page, every reference,
/// every row. The daemon may run; nothing is changed.
///
/// # Errors
/// What is wrong with it.
pub fn check(state_dir: &Path) -> Result<Checked, BackupError> {
    check_file(&state_dir.join(DATABASE))
}

/// Puts a copy in the database's place. The one that was there is kept as
/// `banger.db.replaced`.
///
/// # Errors
/// [`OpenError::Locked`] while a daemon runs; [`OpenError::Newer`], and
/// whatever else is wrong with the copy. Nothing was changed then.
pub fn restore(state_dir: &Path, from: &Path) -> Result<Checked, BackupError> {
    let _lock = Lock::take(state_dir)?;
    let found = check_file(from)?;
    let place = state_dir.join(DATABASE);
    let draft = beside(&place, "restoring");
    let io = |source| BackupError::Io {
        path: place.clone(),
        source,
    };
    remove(&draft).map_err(io)?;
    copy(&reader(from)?, &draft)?;
    set_aside(&place).map_err(io)?;
    files::publish(&draft, &place).map_err(io)?;
    Ok(found)
}

/// Keeps a copy beside the database before it is migrated, and the newest
/// [`COPIES`] of them.
pub(super) fn before_migration(
    connection: &Connection,
    database: &Path,
    version: i64,
    now: Timestamp,
) -> Result<(), BackupError> {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let to = beside(database, &format!("backup-{time}-v{version}"));
    if to.exists() {
        // Of this very second: the migration failed and is tried again.
        return Ok(());
    }
    copy(connection, &to)?;
    let mut copies = copies(database);
    copies.sort();
    let old = copies.len().saturating_sub(COPIES);
    for copy in &copies[..old] {
        if let Err(error) = remove(copy) {
            tracing::warn!("an old copy of the database stays: {error}");
        }
    }
    Ok(())
}

/// The copies from before migrations.
pub(super) fn copies(database: &Path) -> Vec<PathBuf> {
    let directory = database.parent().unwrap_or(Path::new("."));
    let start = beside(database, "backup-");
    let start = start
        .file_name()
        .unwrap_or_default()
        .as_encoded_bytes()
        .to_owned();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let ours = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(&start);
    entries
        .filter(|entry| ours(&entry.file_name()))
        .map(|entry| entry.path())
        .collect()
}

/// Every page, every reference, every row of a database file.
fn check_file(path: &Path) -> Result<Checked, BackupError> {
    let connection = reader(&existing(path)?)?;
    let version = open::known_version(&connection, path)?;
    open::check_whole(&connection, path)?;
    let loaded = open::load(&connection, path, version)?;
    Ok(Checked {
        version,
        vms: loaded.intents.vms.len(),
        images: loaded.intents.images.len(),
    })
}

fn existing(path: &Path) -> Result<PathBuf, BackupError> {
    match path.metadata() {
        Ok(found) if found.is_file() && found.len() > 0 => Ok(path.to_owned()),
        Ok(_) => Err(OpenError::Damaged {
            path: path.to_owned(),
            detail: "it is empty, or no file".into(),
        }
        .into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(BackupError::Missing(path.to_owned()))
        }
        Err(source) => Err(BackupError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// A connection that makes no database where there is none. It isn't read-only
/// to SQLite: what a killed daemon left in the log has to be taken up.
fn reader(path: &Path) -> Result<Connection, BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|source| open::explain(path, source).into())
}

/// Copies to a draft beside `to`, and gives it its name once it is durable.
fn copy(source: &Connection, to: &Path) -> Result<(), BackupError> {
    let draft = beside(to, "new");
    let io = |source| BackupError::Io {
        path: to.to_owned(),
        source,
    };
    remove(&draft).map_err(io)?;
    let copied = copy_pages(source, &draft).map_err(|source| BackupError::Sqlite {
        path: to.to_owned(),
        source,
    });
    let named = copied.and_then(|()| files::publish(&draft, to).map_err(io));
    if named.is_err() {
        // What can't be used isn't left lying about.
        let _ = remove(&draft);
    }
    named
}

fn copy_pages(source: &Connection, draft: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(draft)?;
    Backup::new(source, &mut copy)?.run_to_completion(PAGES, PAUSE, None)?;
    // One file, without a log beside it.
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    copy.close().map_err(|(_, error)| error)
}

/// Keeps the database as `banger.db.replaced`, with its log where that can't
/// be taken up.
fn set_aside(place: &Path) -> io::Result<()> {
    if !place.try_exists()? {
        return Ok(());
    }
    if let Ok(old) = Connection::open(place) {
        // A damaged one can't; its log is kept beside it then.
        let _ = old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
    }
    let kept = beside(place, "replaced");
    for side in ["", "-wal"] {
        remove(&suffixed(&kept, side))?;
    }
    fs::hard_link(place, &kept)?;
    let log = suffixed(place, "-wal");
    if log.try_exists()? {
        fs::rename(log, suffixed(&kept, "-wal"))?;
    }
    // Or a power cut could leave the copy in its place, and the old one nowhere.
    files::sync_parent(place)?;
    remove(&suffixed(place, "-shm"))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, what: &str) -> PathBuf {
    suffixed(path, &format!(".{what}"))
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a migration is due on a database that holds something.
pub(super) const fn is_old(version: i64) -> bool {
    0 < version && version < migration::LATEST
}
