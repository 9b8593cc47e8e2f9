//! Files that come as descriptors, and what must be true of them before root
//! uses them: a regular file of the owner's, linked once, on the state
//! directory's file system, opened the way that its use needs.
//!
//! The link count keeps the owner from lending a file that another account
//! also reaches by a name; the file system keeps out what isn't a disk of ours.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags, Stat, fcntl_getfl, fstat, lstat};

use crate::{Failure, Host};

/// How a descriptor has to be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading is enough.
    Read,
    /// For reading and writing.
    ReadWrite,
    /// For appending only.
    Append,
}

/// Checks one descriptor. `what` names it in the refusal.
pub fn check(
    host: &Host,
    fd: &OwnedFd,
    what: &'static str,
    access: Access,
) -> Result<Stat, Failure> {
    let refuse = |why: String| Err(Failure::refused("descriptor", format!("{what}: {why}")));
    let stat = fstat(fd.as_fd()).map_err(|e| Failure::os("fstat", what, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return refuse("not a regular file".into());
    }
    let owner = host.install.owner_uid;
    if stat.st_uid != owner {
        return refuse(format!("belongs to uid {}, not to {owner}", stat.st_uid));
    }
    if stat.st_nlink != 1 {
        return refuse(format!(
            "has {} names; exactly one is allowed",
            stat.st_nlink
        ));
    }
    let state = host.state_dir();
    let home = lstat(state).map_err(|e| Failure::os("lstat", state.display().to_string(), e))?;
    if FileType::from_raw_mode(home.st_mode) != FileType::Directory {
        return refuse(format!("{} is not a directory", state.display()));
    }
    if stat.st_dev != home.st_dev {
        return refuse(format!("not on the file system of {}", state.display()));
    }
    let flags = fcntl_getfl(fd.as_fd()).map_err(|e| Failure::os("F_GETFL", what, e))?;
    let mode = flags & OFlags::ACCMODE;
    let open = match access {
        Access::Read => mode == OFlags::RDONLY || mode == OFlags::RDWR,
        Access::ReadWrite => mode == OFlags::RDWR,
        Access::Append => mode == OFlags::WRONLY && flags.contains(OFlags::APPEND),
    };
    if !open || flags.contains(OFlags::PATH) {
        return refuse(match access {
            Access::Read => "must be open for reading".into(),
            Access::ReadWrite => "must be open for reading and writing".into(),
            Access::Append => "must be open for appending only".into(),
        });
    }
    Ok(stat)
}
