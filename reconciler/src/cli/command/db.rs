//! `banger db …`: the daemon's database, copied, checked, put back. Works on
//! the files themselves and needs no daemon.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::context::Context;
use crate::cli::documents::absolute;
use crate::cli::output::{note, print};
use crate::cli::places::installed;
use crate::cli::prompt::confirm;
use crate::cli::{Exit, Failure};
use crate::store::{self, BackupError, Checked, OpenError};

/// `banger db …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Db {
    /// Copy the database to a new file; the daemon may run
    Backup(Backup),
    /// Check every page, reference and row; the daemon may run
    Check(Place),
    /// Put a copy in the database's place; the daemon must be stopped
    Restore(Restore),
}

/// Where the database is.
#[derive(Debug, Args)]
pub(in crate::cli) struct Place {
    /// The daemon's state directory [default: as installed]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// `banger db backup FILE`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Backup {
    /// The copy
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// `banger db restore FILE`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// The copy
    file: PathBuf,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

impl Db {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Backup(command) => {
                let file = absolute(&command.file)?;
                let state_dir = command.place.directory(context)?;
                let found = store::backup(&state_dir, &file).map_err(failed)?;
                print(format_args!("{} written: {}", file.display(), words(found)))?;
            }
            Self::Check(place) => {
                let state_dir = place.directory(context)?;
                let found = store::check(&state_dir).map_err(failed)?;
                print(format_args!("sound: {}", words(found)))?;
            }
            Self::Restore(command) => command.run(context)?,
        }
        Ok(Exit::Ok)
    }
}

impl Restore {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let file = absolute(&self.file)?;
        let state_dir = self.place.directory(context)?;
        if !self.yes {
            let question = "everything that the daemon was told since that copy was made will be \
                            forgotten";
            confirm(question)?;
        }
        let found = store::restore(&state_dir, &file).map_err(failed)?;
        print(format_args!(
            "{} restored: {}",
            file.display(),
            words(found)
        ))?;
        note("The database that it replaced is kept as banger.db.replaced. Start bangerd again.");
        Ok(())
    }
}

impl Place {
    fn directory(&self, context: &Context) -> Result<PathBuf, Failure> {
        let chosen = self.state_dir.clone();
        let chosen = chosen.or_else(|| installed().map(|install| install.state_dir));
        match chosen {
            Some(directory) => absolute(Path::new(&directory)),
            None => Ok(context.places()?.state),
        }
    }
}

fn words(found: Checked) -> String {
    format!(
        "{} VMs and {} images, schema version {}",
        found.vms, found.images, found.version
    )
}

fn failed(error: BackupError) -> Failure {
    let exit = match &error {
        BackupError::Missing(_) => Exit::NotFound,
        BackupError::Exists(_) => Exit::Conflict,
        BackupError::Database(OpenError::Locked { .. } | OpenError::Newer { .. }) => Exit::Conflict,
        _ => Exit::Internal,
    };
    let mut failure = Failure::new(exit, error.to_string());
    if let Some(source) = std::error::Error::source(&error) {
        failure = failure.because(source);
    }
    match error {
        BackupError::Database(OpenError::Locked { .. }) => failure.help(
            "stop it and its socket: `sudo systemctl stop bangerd.socket bangerd.service`; VMs go \
             on running",
        ),
        BackupError::Missing(_) => failure.help("give the right file, or --state-dir"),
        _ => failure,
    }
}
