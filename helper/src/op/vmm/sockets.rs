//! `/run/banger/vms`, above the VMMs' socket directories.
//!
//! The sockets are for the owner's group, because the VMM's uid makes them. That
//! group may be shared (`users`), so that the way to them is for the owner alone:
//! root's directory, 0700, with one entry in its access control list (acl(5)).
//! It stays root's: whoever owned it could put links where root looks for sockets.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, XattrFlags, fchmod, fsetxattr};

use super::jail::root_directory;
use crate::{Failure, Host};

/// The list as the kernel takes it (`linux/posix_acl_xattr.h`).
const ACCESS: &str = "system.posix_acl_access";
const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const RWX: u16 = 7;
const R_X: u16 = 5;
const UNDEFINED: u32 = u32::MAX;

/// The directory, made where it is missing. An older helper let others in.
pub(super) fn directory(path: &Path, owner: u32) -> Result<OwnedFd, Failure> {
    let directory = root_directory(path, 0o700)?;
    for_the_owner(directory.as_fd(), owner)?;
    Ok(directory)
}

/// Closes to others what stands there already.
pub fn close(host: &Host) -> Result<(), Failure> {
    let path = host.socket_dirs();
    match path.is_dir() {
        true => directory(&path, host.install.owner_uid).map(drop),
        false => Ok(()),
    }
}

/// Root's alone at first, so that it is never open to more.
fn for_the_owner(directory: BorrowedFd<'_>, owner: u32) -> Result<(), Failure> {
    let object = "the directory of the VMMs' sockets";
    let access = access(owner);
    let mut there = [0; 64];
    let length = rustix::fs::fgetxattr(directory, ACCESS, &mut there).unwrap_or(0);
    if there.get(..length) == Some(&access) {
        return Ok(());
    }
    fchmod(directory, Mode::from_raw_mode(0o700)).map_err(|e| Failure::os("fchmod", object, e))?;
    fsetxattr(directory, ACCESS, &access, XattrFlags::empty())
        .map_err(|e| Failure::os("fsetxattr", format!("{object}: {ACCESS}"), e))
}

/// Root writes, the owner enters and reads, nobody else does anything.
fn access(owner: u32) -> Vec<u8> {
    let mut list = VERSION.to_le_bytes().to_vec();
    for (tag, may, id) in [
        (USER_OBJ, RWX, UNDEFINED),
        (USER, R_X, owner),
        (GROUP_OBJ, 0, UNDEFINED),
        (MASK, R_X, UNDEFINED),
        (OTHER, 0, UNDEFINED),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(may.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::{self, File, Permissions};
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::for_the_owner;

    const OWNER: u32 = 4_242;
    const SHARED_GROUP: u32 = 100;

    #[test]
    fn nobody_of_the_owners_group_gets_through() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED nobody_of_the_owners_group_gets_through: only root has other uids");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let directory = root.path().join("vms");
        fs::create_dir_all(directory.join("uid")).unwrap();
        fs::write(directory.join("uid/fc.sock"), "").unwrap();
        for path in ["", "uid", "uid/fc.sock"] {
            let path = directory.join(path);
            std::os::unix::fs::chown(&path, None, Some(SHARED_GROUP)).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o775)).unwrap();
        }
        let reads = |uid| {
            let path = directory.join("uid/fc.sock");
            let mut cat = Command::new("cat");
            let output = cat.arg(path).uid(uid).gid(SHARED_GROUP).output().unwrap();
            output.status.success()
        };
        assert!(reads(OWNER) && reads(OWNER + 1), "it is open at first");
        let opened = File::open(&directory).unwrap();
        for _ in 0..2 {
            for_the_owner(opened.as_fd(), OWNER).unwrap();
            assert!(reads(OWNER) && !reads(OWNER + 1));
        }
        // Nor may the owner put anything there.
        let mut touch = Command::new("touch");
        let touch = touch.arg(directory.join("link")).uid(OWNER).gid(OWNER);
        assert!(!touch.output().unwrap().status.success());
        let mode = fs::metadata(&directory).unwrap().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}: root trusts it no more");
    }
}
