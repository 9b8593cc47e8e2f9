//! Files and directories of root's, put in place whole: a program that runs
//! while it is replaced goes on with what it is.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::ops::{BitOr, BitOrAssign};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use crate::act::files::sync_parent;
use crate::cli::{Exit, Failure};

/// Whether anything had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It was so.
    Unchanged,
    /// It is so now.
    Changed,
}

impl BitOr for Placed {
    type Output = Self;

    /// Whether anything had to be done for the one or the other.
    fn bitor(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unchanged, Self::Unchanged) => Self::Unchanged,
            _ => Self::Changed,
        }
    }
}

impl BitOrAssign for Placed {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// A file with this content, root's, with this mode.
///
/// # Errors
/// Where it can't be written.
pub(super) fn file(path: &Path, content: &[u8], mode: u32) -> Result<Placed, Failure> {
    put_file(path, content, mode).map_err(|error| failed(path, &error))
}

fn put_file(path: &Path, content: &[u8], mode: u32) -> io::Result<Placed> {
    let same = fs::symlink_metadata(path).is_ok_and(|metadata| {
        metadata.is_file()
            && metadata.mode() & 0o7777 == mode
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && fs::read(path).is_ok_and(|bytes| bytes == content)
    });
    if same {
        return Ok(Placed::Unchanged);
    }
    let parent = path
        .parent()
        .ok_or_else(|| io::Error::other("it has no directory"))?;
    let mut new = tempfile::Builder::new()
        .prefix(".banger-")
        .tempfile_in(parent)?;
    new.write_all(content)?;
    new.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    sync_parent(path)?;
    Ok(Placed::Changed)
}

/// A directory with this owner and mode; its parents are made as root's, 0755.
///
/// # Errors
/// Where it can't be made.
pub(super) fn directory(path: &Path, owner: Option<(u32, u32)>, mode: u32) -> Result<(), Failure> {
    put_directory(path, owner, mode).map_err(|error| failed(path, &error))
}

fn put_directory(path: &Path, owner: Option<(u32, u32)>, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if !fs::symlink_metadata(path)?.is_dir() {
        return Err(io::Error::other("it is a symbolic link, not a directory"));
    }
    if let Some((uid, gid)) = owner {
        chown(path, Some(uid), Some(gid))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// A symbolic link; anything else that has its name is left alone and refused.
///
/// # Errors
/// Where something else stands there.
pub(super) fn link(path: &Path, target: &Path) -> Result<Placed, Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            if fs::read_link(path).is_ok_and(|now| now == target) {
                return Ok(Placed::Unchanged);
            }
            fs::remove_file(path).map_err(|error| failed(path, &error))?;
        }
        Ok(_) => {
            return Err(Failure::new(
                Exit::Conflict,
                format!("{} is a file of something else", path.display()),
            )
            .help("move it away, then install again"));
        }
        Err(_) => {}
    }
    symlink(target, path).map_err(|error| failed(path, &error))?;
    Ok(Placed::Changed)
}

/// Removes a file or a tree, if it is there.
///
/// # Errors
/// Where it can't be removed.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

/// What a person reads of it.
pub(super) fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Internal,
        format!("{} can't be put in order", path.display()),
    )
    .because(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Placed, file, link, remove};

    #[test]
    fn a_second_time_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        assert_eq!(file(&path, b"one", 0o755).unwrap(), Placed::Changed);
        assert_eq!(file(&path, b"one", 0o755).unwrap(), Placed::Unchanged);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o755
        );
        assert_eq!(file(&path, b"two", 0o755).unwrap(), Placed::Changed);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(file(&path, b"two", 0o644).unwrap(), Placed::Changed);

        let name = dir.path().join("name");
        assert_eq!(link(&name, &path).unwrap(), Placed::Changed);
        assert_eq!(link(&name, &path).unwrap(), Placed::Unchanged);
        assert_eq!(link(&name, dir.path()).unwrap(), Placed::Changed);
        let refused = link(&path, dir.path()).unwrap_err();
        assert!(refused.message.contains("is a file of something else"));
        assert_eq!(fs::read(&path).unwrap(), b"two");
        remove(&name).unwrap();
        remove(&name).unwrap();
        assert!(fs::symlink_metadata(&name).is_err());
    }

    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        let path = dir.path().join("unit");
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert_eq!(file(&path, b"ours", 0o644).unwrap(), Placed::Changed);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }
}
