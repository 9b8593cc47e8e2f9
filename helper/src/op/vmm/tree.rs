//! Removing a directory that somebody else may be changing at the same time:
//! a VMM that broke out of its guest, or the owner.
//!
//! Guarantees: no symbolic link is followed, no mount is crossed, no name is
//! resolved twice: every step goes through a directory that is already open
//! (openat2(2), RESOLVE_BENEATH and its companions). Depth can't exhaust
//! stack or descriptors: what lies too deep is moved up first, to a name that
//! nobody can have taken before. A tree that is too large for one request is
//! smaller after each.

use std::ffi::{CStr, CString};
use std::hash::{BuildHasher as _, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::Failure;

/// Directories that may be open at once on the way down.
const DEEPEST: usize = 32;
/// Entries that one request removes. With more the tree may be one that grows.
const MOST: usize = 100_000;

/// Removes `<parent>/<name>` with everything in it. `false`: it wasn't there.
/// Every component of `parent` must be root's.
pub(super) fn remove(parent: &Path, name: &str) -> Result<bool, Failure> {
    remove_at_most(MOST, parent, name)
}

fn remove_at_most(most: usize, parent: &Path, name: &str) -> Result<bool, Failure> {
    let os = |e: Errno| Failure::os("unlinkat", parent.join(name).display().to_string(), e);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent_fd = match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(false),
        Err(e) => return Err(os(e)),
    };
    let text = CString::new(name).map_err(|_| os(Errno::INVAL))?;
    let top = match open(parent_fd.as_fd(), &text) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(false),
        Err(e) => return Err(os(e)),
    };
    let mut sweep = Sweep {
        top: &top,
        most,
        removed: 0,
        names: RandomState::new(),
    };
    let failed = |e: Errno, sweep: &Sweep<'_>| match sweep.removed > most {
        true => Failure::later(
            "unlinkat",
            format!(
                "{} has more than {most} entries: those are gone, and more go each time that it \
                 is asked for",
                parent.join(name).display()
            ),
        ),
        false => os(e),
    };
    loop {
        sweep.empty(top.as_fd(), 1).map_err(|e| failed(e, &sweep))?;
        match rustix::fs::unlinkat(&parent_fd, &text, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            // What was moved up, or has been added since: once more. The
            // sweep's budget bounds this.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                sweep.count().map_err(|e| failed(e, &sweep))?;
            }
            Err(e) => return Err(os(e)),
        }
    }
}

struct Sweep<'t> {
    top: &'t OwnedFd,
    most: usize,
    removed: usize,
    /// Makes names that nobody can guess.
    names: RandomState,
}

impl Sweep<'_> {
    fn count(&mut self) -> Result<(), Errno> {
        self.removed += 1;
        if self.removed > self.most {
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
            // One that is known beforehand could be that of something that can't be
            // replaced, and the tree would stay.
            let aside = format!(".banger-deep-{:016x}", self.names.hash_one(self.removed));
            return match rustix::fs::renameat(parent, name, self.top, aside) {
                Err(Errno::NOENT) => Ok(()),
                result => result,
            };
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
mod tests;
