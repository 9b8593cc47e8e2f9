//! Files that are there whole or not at all. All of it blocks.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Makes a directory, and those above it, that only the owner can enter. When
/// this returns, a power cut takes back none of them.
pub fn private_directory(path: &Path) -> io::Result<()> {
    make_directory(path, 0o700)
}

/// The same with the mode that the umask leaves.
pub fn directory(path: &Path) -> io::Result<()> {
    make_directory(path, 0o777)
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    let make = || DirBuilder::new().mode(mode).create(path);
    let made = match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_directory(path.parent().ok_or(error)?, mode)?;
            make()
        }
        made => made,
    };
    match made {
        Ok(()) => sync_parent(path),
        // It was there, or somebody else has made it meanwhile.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a small file in one step: readers see the old text or the new, and
/// so does whoever looks after a power cut. When this returns it is the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft(path);
    write(&draft, bytes)?;
    publish(&draft, path)
}

/// The same for what may be lost: after a power cut it may be old, or empty.
pub fn hint(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft(path);
    write(&draft, bytes)?;
    std::fs::rename(draft, path)
}

/// Gives a file its name once all of it is on the disk (fsync(2), rename(2)).
/// When this returns, a power cut doesn't take it back.
pub fn publish(draft: &Path, path: &Path) -> io::Result<()> {
    File::open(draft)?.sync_all()?;
    std::fs::rename(draft, path)?;
    sync_parent(path)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

/// What a regular file holds, links not followed; `None` where there is none,
/// or more than so many bytes of it.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// The name of a file that is being written: `<name>.new`.
pub fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Removes a file if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Removes a directory and what is in it, if it is there.
pub fn remove_directory(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Makes names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a file's own name durable: a rename is, only once its directory is
/// (fsync(2), "Notes").
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Makes a sparse file of the owner's alone that is at least so long; one that
/// exists is made longer, never shorter.
pub fn at_least(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.len() < length {
        file.set_len(length)?;
        file.sync_all()?;
    }
    Ok(())
}
