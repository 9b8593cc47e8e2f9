//! Why the store couldn't be opened or written.

use std::path::PathBuf;

/// The state directory can't be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory itself.
    #[error("can't use the state directory {}: check that it exists and belongs to you", .path.display())]
    Directory {
        /// It.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another daemon works there.
    #[error(
        "another bangerd{} already uses {}: stop it first, or give this one another --state-dir",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        .path.display()
    )]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// What the lock file says about its holder.
        pid: Option<u32>,
    },
    /// The database was written by a newer program.
    #[error(
        "{} has schema version {found}, but this bangerd knows versions up to {known}: \
         install the version of banger that last ran here, or a newer one",
        .path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// The file isn't a sound database.
    #[error(
        "the database {} is damaged ({detail}). Nothing was changed; running VMs and their disks \
         are not touched. Put a copy back with `banger db restore FILE` (copies from before an upgrade lie beside it as \
         banger.db.backup-*), or move it away to start with an empty one",
        .path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// A row holds what this program can't read.
    #[error(
        "the database {} holds {object} in a form that this bangerd can't read. Nothing was changed",
        .path.display()
    )]
    Unreadable {
        /// The database.
        path: PathBuf,
        /// Which object.
        object: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no room for it.
    #[error(
        "the disk of the database {} is full. Nothing was changed: free space on it, then start \
         bangerd again",
        .path.display()
    )]
    Full {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// It can't be written.
    #[error(
        "the database {} can't be written. Nothing was changed: see that it, the files beside it \
         and its directory belong to you and are writable, and that the file system isn't \
         mounted read-only",
        .path.display()
    )]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A file of it can't be opened for writing.
    #[error(
        "{} can't be written. Nothing was changed: see that it belongs to you and is writable \
         (`chmod 600`), and that the file system isn't mounted read-only",
        .path.display()
    )]
    Unwritable {
        /// The database, or its log.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The copy that is kept before a migration couldn't be made.
    #[error(
        "{} must be brought to this version's schema, and the copy that is kept of it before \
         can't be made. Nothing was changed",
        .path.display()
    )]
    Backup {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<super::BackupError>,
    },
    /// Anything else that SQLite says.
    #[error("can't open the database {}", .path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A migration failed; it was rolled back.
    #[error("can't bring the database {} to this version's schema", .path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite_migration::Error,
    },
}

/// A batch or a query failed; the database stands as it did before.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's own.
    #[error("the database refused the change")]
    Sqlite(#[from] rusqlite::Error),
    /// A value that has no JSON form.
    #[error("can't write an object as JSON")]
    Json(#[from] serde_json::Error),
    /// The call was cut short: the daemon is ending.
    #[error("the store has been closed")]
    Closed,
}
