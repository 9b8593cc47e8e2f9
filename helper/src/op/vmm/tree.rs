//! Removing a directory that somebody else may be changing at the same time:
//! a VMM that broke out of its guest, or the owner.
//!
//! Guarantees: no symbolic link is followed, no mount is crossed, no name is
//! resolved twice: every step goes through a directory that is already open
//! (openat2(2), RESOLVE_BENEATH and its companions). Depth can't exhaust
//! stack or descriptors: what lies too deep is moved up first.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::Failure;

/// Directories that may be open at once on the way down.
const DEEPEST: usize = 32;
/// Entries that are removed before the tree counts as one that only grows.
const MOST: usize = 100_000;

/// Removes `<parent>/<name>` with everything in it. `false`: it wasn't there.
/// Every component of `parent` must be root's.
pub(super) fn remove(parent: &Path, name: &str) -> Result<bool, Failure> {
    let os = |e: Errno| Failure::os("unlinkat", parent.join(name).display().to_string(), e);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent_fd = match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(false),
        Err(e) => return Err(os(e)),
    };
    let name = CString::new(name).map_err(|_| os(Errno::INVAL))?;
    let top = match open(parent_fd.as_fd(), &name) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(false),
        Err(e) => return Err(os(e)),
    };
    let mut sweep = Sweep {
        top: &top,
        removed: 0,
        moved: 0,
    };
    loop {
        sweep.empty(top.as_fd(), 1).map_err(os)?;
        match rustix::fs::unlinkat(&parent_fd, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            // What was moved up, or has been added since: once more. The
            // sweep's budget bounds this.
            Err(Errno::NOTEMPTY | Errno::EXIST) => sweep.count().map_err(os)?,
            Err(e) => return Err(os(e)),
        }
    }
}

struct Sweep<'t> {
    top: &'t OwnedFd,
    removed: usize,
    moved: usize,
}

impl Sweep<'_> {
    fn count(&mut self) -> Result<(), Errno> {
        self.removed += 1;
        if self.removed > MOST {
            return Err(Errno::DQUOT);
        }
        Ok(())
    }

    /// Removes every entry of an open directory.
    fn empty(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.count()?;
            // The kind is a hint for the order of the two ways only.
            if entry.file_type() != FileType::Directory {
                match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    Err(Errno::ISDIR) => {}
                    Err(e) => return Err(e),
                }
            }
            self.directory(directory, name, depth)?;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), Errno> {
        if depth >= DEEPEST {
            self.moved += 1;
            let aside = format!(".banger-deep-{}", self.moved);
            return rustix::fs::renameat(parent, name, self.top, aside);
        }
        let child = match open(parent, name) {
            Ok(child) => child,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return rustix::fs::unlinkat(parent, name, AtFlags::empty());
            }
            Err(e) => return Err(e),
        };
        self.empty(child.as_fd(), depth + 1)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            // Refilled meanwhile: the next pass over the parent sees it.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Opens one directory below another, and nothing else.
pub(super) fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_removed_and_never_followed() {
        let at = tempfile::tempdir().unwrap();
        let outside = at.path().join("outside");
        fs::create_dir_all(outside.join("kept")).unwrap();
        let jail = at.path().join("jails/x/root/run");
        fs::create_dir_all(&jail).unwrap();
        symlink(&outside, jail.join("link")).unwrap();
        symlink("/", at.path().join("jails/x/slash")).unwrap();
        fs::write(jail.join("file"), "x").unwrap();
        assert!(remove(&at.path().join("jails"), "x").unwrap());
        assert!(outside.join("kept").is_dir());
        assert!(!at.path().join("jails/x").exists());
        assert!(!remove(&at.path().join("jails"), "x").unwrap());
        assert!(!remove(&at.path().join("nowhere"), "x").unwrap());
    }

    #[test]
    fn a_link_in_the_place_of_the_tree_is_refused() {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir_all(at.path().join("outside/kept")).unwrap();
        symlink(at.path().join("outside"), at.path().join("x")).unwrap();
        assert!(remove(at.path(), "x").is_err());
        assert!(at.path().join("outside/kept").is_dir());
    }

    #[test]
    fn a_very_deep_tree_goes_too() {
        let at = tempfile::tempdir().unwrap();
        let mut deep = at.path().join("x");
        for _ in 0..300 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), "").unwrap();
        assert!(remove(at.path(), "x").unwrap());
        assert!(!at.path().join("x").exists());
    }
}
