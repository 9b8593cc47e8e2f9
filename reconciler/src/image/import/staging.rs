//! A directory that becomes an image when it is complete, and goes when it isn't.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::image::ImportError;

const PREFIX: &str = ".import-";

/// The directory, locked while this lives.
pub(super) struct Staging {
    directory: TempDir,
    lock: File,
}

impl Staging {
    /// Makes one beneath `images`, which is made where it isn't there, and
    /// sweeps what crashed imports and interrupted removals left.
    pub(super) fn new(images: &Path) -> Result<Self, ImportError> {
        fs::create_dir_all(images).map_err(ImportError::io("create", images))?;
        sweep(images);
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(images)
            .map_err(ImportError::io("create a directory in", images))?;
        let lock = File::open(directory.path())
            .and_then(|file| Ok(flock(&file, FlockOperation::LockExclusive).map(|()| file)?))
            .map_err(ImportError::io("lock", directory.path()))?;
        Ok(Self { directory, lock })
    }

    /// A new file, to be written.
    pub(super) fn create(&self, name: &str, mode: u32) -> Result<(File, PathBuf), ImportError> {
        let path = self.directory.path().join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(ImportError::io("create", &path))?;
        Ok((file, path))
    }

    /// Writes a whole file and waits until it is on the disk.
    pub(super) fn write(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), ImportError> {
        let (mut file, path) = self.create(name, mode)?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(ImportError::io("write", &path))
    }

    /// Gives the directory its name. Something of that name that isn't an image
    /// any more is exchanged for it, and removed.
    pub(super) fn publish(self, images: &Path, digest: &str) -> Result<PathBuf, ImportError> {
        let target = images.join(digest);
        let from = self.directory.path();
        let renaming = |error: Errno| ImportError::io("rename", from)(error.into());
        self.lock
            .sync_all()
            .map_err(ImportError::io("write", from))?;
        match renameat_with(CWD, from, CWD, &target, RenameFlags::NOREPLACE) {
            // The path now names nothing that this could remove.
            Ok(()) => drop(self.directory.keep()),
            Err(Errno::EXIST) => {
                renameat_with(CWD, from, CWD, &target, RenameFlags::EXCHANGE).map_err(renaming)?;
            }
            Err(error) => return Err(renaming(error)),
        }
        File::open(images)
            .and_then(|directory| directory.sync_all())
            .map_err(ImportError::io("write", images))?;
        Ok(target)
    }
}

/// Removes leftovers. One that can't go is in nobody's way, and stays.
fn sweep(images: &Path) {
    for name in abandoned(images).unwrap_or_default() {
        let _ = fs::remove_dir_all(images.join(name));
    }
}

/// What crashed imports and interrupted removals left in `images`, by name.
pub fn abandoned(images: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(images) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name().into_string();
        // What isn't text is nothing of ours.
        found.extend(name.into_iter().filter(|name| is_abandoned(images, name)));
    }
    found.sort();
    Ok(found)
}

/// Removes such a directory, if it still is one.
pub fn remove_abandoned(images: &Path, name: &str) -> io::Result<()> {
    if !name.contains('/') && is_abandoned(images, name) {
        fs::remove_dir_all(images.join(name))?;
    }
    Ok(())
}

fn is_abandoned(images: &Path, name: &str) -> bool {
    let path = images.join(name);
    name.starts_with(".remove-") && path.is_dir()
        || name.starts_with(PREFIX) && !is_locked(&path).unwrap_or(true)
}

fn is_locked(directory: &Path) -> io::Result<bool> {
    let file = File::open(directory)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
