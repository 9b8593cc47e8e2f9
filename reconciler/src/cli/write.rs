//! One file of documents, written whole or not at all.
//!
//! A new content goes into a dotfile beside the target (which the daemon
//! doesn't read), is synced, and takes the target's place by rename(2). Where
//! the path is a symbolic link, that happens at its target, so that a dotfile
//! manager's tree stays one.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::{Exit, Failure};
use crate::act::files::{directory, sync_parent};
use crate::source;

/// A file as it was read and as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// The path in the directory of documents.
    pub(super) path: PathBuf,
    /// As read; `None`: it wasn't there.
    pub(super) before: Option<Vec<u8>>,
    /// As it is to be; `None`: it goes.
    pub(super) after: Option<String>,
}

impl Write {
    /// Says no before anything is written where this write couldn't be done.
    ///
    /// # Errors
    /// Where the target is read-only.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.before.is_none() {
            return Ok(());
        }
        let target = self.target()?;
        let metadata = fs::metadata(&target).map_err(|error| self.failed(&error))?;
        let read_only = metadata.permissions().readonly()
            || rustix::fs::access(&target, rustix::fs::Access::WRITE_OK).is_err();
        if read_only {
            let shown = target.display();
            let failure = Failure::new(Exit::Conflict, format!("{shown} is read-only"));
            return Err(if target == self.path {
                failure.help(format!("make it writable: `chmod u+w {shown}`"))
            } else {
                failure
                    .cause(format!("{} is a symbolic link to it", self.path.display()))
                    .help("change it where it is generated, or replace the link with a file of its own")
            });
        }
        Ok(())
    }

    /// Writes.
    ///
    /// # Errors
    /// [`Exit::Conflict`] where the file changed since it was read.
    pub(super) fn perform(&self) -> Result<(), Failure> {
        let now = match source::bytes(&self.path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.failed(&error)),
        };
        if now != self.before {
            return Err(Failure::new(
                Exit::Conflict,
                format!(
                    "{} was changed by somebody else meanwhile",
                    self.path.display()
                ),
            )
            .help("it was left alone; try again"));
        }
        match &self.after {
            // The link goes, not what a dotfile manager keeps behind it.
            None => fs::remove_file(&self.path).and_then(|()| sync_parent(&self.path)),
            Some(text) => self.put(text),
        }
        .map_err(|error| self.failed(&error))
    }

    /// The write that puts everything back as it was before this one.
    ///
    /// # Errors
    /// Where a symbolic link that goes can't be read.
    pub(super) fn undo(&self) -> Result<Undo, Failure> {
        if self.after.is_none() {
            match fs::read_link(&self.path) {
                Ok(target) => {
                    return Ok(Undo::Link {
                        path: self.path.clone(),
                        target,
                    });
                }
                // EINVAL: it is no link (readlink(2)).
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        Ok(Undo::Write(Self {
            path: self.path.clone(),
            before: self.after.as_ref().map(|text| text.clone().into_bytes()),
            after: self.before.as_ref().map(text),
        }))
    }

    fn put(&self, text: &str) -> io::Result<()> {
        let target = match self.before {
            Some(_) => self.path.canonicalize()?,
            None => self.path.clone(),
        };
        let parent = target
            .parent()
            .ok_or_else(|| io::Error::other("it has no directory"))?;
        directory(parent)?;
        let mode = match &self.before {
            Some(_) => fs::metadata(&target)?.permissions().mode() & 0o7777,
            None => 0o644,
        };
        let mut new = tempfile::Builder::new()
            .prefix(".banger-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(parent)?;
        new.write_all(text.as_bytes())?;
        new.as_file().sync_all()?;
        match self.before {
            Some(_) => new.persist(&target),
            None => new.persist_noclobber(&target),
        }
        .map_err(|error| error.error)?;
        sync_parent(&target)
    }

    fn target(&self) -> Result<PathBuf, Failure> {
        self.path
            .canonicalize()
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Denied,
            _ => Exit::Internal,
        };
        Failure::new(exit, format!("{} can't be written", self.path.display())).because(error)
    }
}

/// What takes a write back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    /// Another write.
    Write(Write),
    /// The link that went.
    Link {
        /// Where it was.
        path: PathBuf,
        /// What it led to.
        target: PathBuf,
    },
}

impl Undo {
    /// Takes it back.
    ///
    /// # Errors
    /// As [`Write::perform`].
    pub(super) fn perform(&self) -> Result<(), Failure> {
        match self {
            Self::Write(write) => write.perform(),
            Self::Link { path, target } => std::os::unix::fs::symlink(target, path)
                .and_then(|()| sync_parent(path))
                .map_err(|error| {
                    let what = format!("the link {} can't be put back", path.display());
                    Failure::new(Exit::Internal, what).because(&error)
                }),
        }
    }
}

#[cfg(test)]
mod tests;
