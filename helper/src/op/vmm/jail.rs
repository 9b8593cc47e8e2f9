//! A fresh jail, and the socket directory beside it.
//!
//! ```text
//! <jail_dir>/firecracker/<uid>/        root, 0700
//!     exit                             the exit record
//!     root/                            what the jailer makes the VMM's /
//!         kernel initrd                copies, 0444
//!         rootdrive workdrive          device nodes, 0600, the VMM's
//!         s/                           the socket directory, mounted ([`super::entrance`])
//! /run/banger/vms/                     root, 0700, and the owner may enter ([`super::sockets`])
//!     <uid>/                           the VMM's, group the owner's, 2770
//!         metrics                      the VMM's, group the owner's, 0660
//! ```
//!
//! Everything is made below directories that are open and root's own, before
//! any process of the VMM's uid can reach them. The jailer then gives `root` and
//! what it makes there to the VMM's uid: from then on root uses no path below it,
//! but to remove it all, once the VMM is gone ([`super::tree`]).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use banger_protocol::VmUid;
use banger_protocol::install::jail::{INITRD, KERNEL, ROOT_DRIVE, SOCKETS, WORK_DRIVE};
use banger_protocol::install::socket::METRICS;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, copy_file_range, fchmod, fstat, makedev,
    mkdirat, mknodat, openat,
};
use rustix::io::Errno;

use super::{sockets, tree};
use crate::install_file::trusted_directory;
use crate::{Failure, Host};

/// The longest kernel or initrd.
const MAX_BOOT_FILE: u64 = 1 << 30;
/// Bytes that are copied per system call where the kernel can't copy by itself.
const BLOCK: usize = 1 << 18;

/// What goes into a jail.
#[derive(Debug)]
pub(super) struct Contents {
    /// An ELF vmlinux.
    pub(super) kernel: OwnedFd,
    /// The boot initrd.
    pub(super) initrd: OwnedFd,
    /// Block device of the root disk: major, minor.
    pub(super) root_drive: (u32, u32),
    /// Block device of the work disk.
    pub(super) work_drive: Option<(u32, u32)>,
}

/// Where they stand.
#[derive(Debug)]
pub(super) struct Places {
    /// The directory that the jailer makes the root.
    pub(super) root: PathBuf,
    /// The socket directory.
    pub(super) sockets: PathBuf,
}

/// What of the host it takes.
#[derive(Debug)]
pub(super) struct Site {
    jails: PathBuf,
    sockets: PathBuf,
    owner_uid: u32,
    owner: Gid,
}

impl Site {
    pub(super) fn of(host: &Host) -> Self {
        Self {
            jails: host.jails(),
            sockets: host.socket_dirs(),
            owner_uid: host.install.owner_uid,
            owner: Gid::from_raw(host.install.owner_gid),
        }
    }
}

/// Makes both. Leftovers must have been removed. It blocks: it copies files.
pub(super) fn make(
    site: &Site,
    uid: VmUid,
    vmm: u32,
    contents: &Contents,
) -> Result<Places, Failure> {
    let (uid, user, group) = (uid.to_string(), Uid::from_raw(vmm), Gid::from_raw(vmm));
    let jails = root_directory(&site.jails, 0o700)?;
    let jail = child(jails.as_fd(), &uid, 0o700)?;
    let root = child(jail.as_fd(), "root", 0o700)?;
    copy(root.as_fd(), inside(KERNEL), &contents.kernel)?;
    copy(root.as_fd(), inside(INITRD), &contents.initrd)?;
    node(
        root.as_fd(),
        inside(ROOT_DRIVE),
        contents.root_drive,
        user,
        group,
    )?;
    if let Some(work) = contents.work_drive {
        node(root.as_fd(), inside(WORK_DRIVE), work, user, group)?;
    }
    child(root.as_fd(), inside(SOCKETS), 0o755)?;

    let parent = sockets::directory(&site.sockets, site.owner_uid)?;
    let sockets = child(parent.as_fd(), &uid, 0o700)?;
    let owner = site.owner;
    // Firecracker writes to this file but doesn't make it.
    let metrics = create(sockets.as_fd(), METRICS)?;
    rustix::fs::fchown(&metrics, Some(user), Some(owner))
        .and_then(|()| fchmod(&metrics, Mode::from_raw_mode(0o660)))
        .map_err(|e| Failure::os("fchown", METRICS, e))?;
    rustix::fs::fchown(&sockets, Some(user), Some(owner))
        .map_err(|e| Failure::os("fchown", "the socket directory", e))?;
    // After the change of owner, which clears set-group-ID.
    fchmod(&sockets, Mode::from_raw_mode(0o2770))
        .map_err(|e| Failure::os("fchmod", "the socket directory", e))?;
    Ok(Places {
        root: site.jails.join(&uid).join("root"),
        sockets: site.sockets.join(&uid),
    })
}

/// Whether a VM has a jail on disk.
pub fn present(host: &Host, uid: VmUid) -> Result<bool, Failure> {
    let path = host.jails().join(uid.to_string());
    match std::fs::symlink_metadata(&path) {
        Ok(found) => Ok(found.is_dir()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Failure::os("stat", path.display().to_string(), e)),
    }
}

/// Every VM with a jail or a socket directory.
pub fn uids(host: &Host) -> Result<Vec<VmUid>, Failure> {
    let mut found = Vec::new();
    for directory in [host.jails(), host.socket_dirs()] {
        let os = |e: io::Error| Failure::os("readdir", directory.display().to_string(), e);
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(os(e)),
        };
        for entry in entries {
            let name = entry.map_err(os)?.file_name();
            found.extend(name.to_str().and_then(|n| n.parse::<VmUid>().ok()));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A name below the jail's root, from the protocol's `/name`.
fn inside(path: &'static str) -> &'static str {
    path.trim_start_matches('/')
}

/// A directory that root alone can change, made with its parents where missing.
pub(super) fn root_directory(path: &Path, mode: u32) -> Result<OwnedFd, Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let object = path.display().to_string();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|e| Failure::os("mkdir", &object, e))?;
    trusted_directory(path).map_err(|e| Failure::refused("directory", e.to_string()))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Failure::os("open", object, e))
}

/// A new directory below an open one.
fn child(parent: BorrowedFd<'_>, name: &str, mode: u32) -> Result<OwnedFd, Failure> {
    let mode = Mode::from_raw_mode(mode);
    mkdirat(parent, name, mode).map_err(|e| Failure::os("mkdirat", name, e))?;
    let text = CString::new(name).map_err(|_| Failure::os("mkdirat", name, Errno::INVAL))?;
    let directory = tree::open(parent, &text).map_err(|e| Failure::os("openat2", name, e))?;
    // Whatever the umask took away.
    fchmod(&directory, mode).map_err(|e| Failure::os("fchmod", name, e))?;
    Ok(directory)
}

fn node(
    jail: BorrowedFd<'_>,
    name: &str,
    (major, minor): (u32, u32),
    user: Uid,
    group: Gid,
) -> Result<(), Failure> {
    let mode = Mode::from_raw_mode(0o600);
    mknodat(
        jail,
        name,
        FileType::BlockDevice,
        mode,
        makedev(major, minor),
    )
    .map_err(|e| Failure::os("mknodat", name, e))?;
    chownat(
        jail,
        name,
        Some(user),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(|e| Failure::os("fchownat", name, e))
}

/// A new file of root's below an open directory.
fn create(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::from_raw_mode(0o600))
        .map_err(|e| Failure::os("openat", name, e))
}

/// Copies a boot file. Offsets are explicit: the descriptor's own position is
/// shared with whoever sent it.
fn copy(jail: BorrowedFd<'_>, name: &'static str, from: &OwnedFd) -> Result<(), Failure> {
    let os = |e: Errno| Failure::os("copy", name, e);
    let length = u64::try_from(fstat(from).map_err(os)?.st_size).unwrap_or(0);
    if length == 0 || length > MAX_BOOT_FILE {
        return Err(Failure::refused(
            "copy",
            format!("{name}: {length} bytes; 1 to {MAX_BOOT_FILE} are allowed"),
        ));
    }
    let to = create(jail, name)?;
    let mut at = 0;
    let mut block = Vec::new();
    while at < length {
        let rest = usize::try_from(length - at).unwrap_or(BLOCK);
        let copied = if block.is_empty() {
            let (mut source, mut target) = (at, at);
            match copy_file_range(from, Some(&mut source), &to, Some(&mut target), rest) {
                // Two file systems that can't copy between each other.
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    block = vec![0; BLOCK];
                    continue;
                }
                other => other.map_err(os)?,
            }
        } else {
            let wanted = rest.min(BLOCK);
            let got = rustix::io::pread(from, &mut block[..wanted], at).map_err(os)?;
            let mut written = 0;
            while written < got {
                let offset = at + written as u64;
                written += rustix::io::pwrite(&to, &block[written..got], offset).map_err(os)?;
            }
            got
        };
        if copied == 0 {
            return Err(Failure::refused(
                "copy",
                format!("{name} shrank while it was copied"),
            ));
        }
        at += copied as u64;
    }
    fchmod(&to, Mode::from_raw_mode(0o444)).map_err(os)
}
