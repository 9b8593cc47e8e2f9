//! What a VMM's unit runs first: it puts the socket directory into the jail and
//! becomes the jailer.
//!
//! `unit -> banger-helper enter-jail -> jailer -> Firecracker`, one process throughout.
//!
//! `BindPaths=` of systemd could mount it, too. But systemd mounts that anew for
//! each program of a unit, also for the one that runs after the VMM's end, and as
//! root it follows links. By then the jail was the VMM's to change: a link in the
//! place of the mount point would put the VMM's files wherever it leads, over
//! root's own programs. Here it is mounted once, before any process has the VMM's
//! uid, and beneath directories that are open; systemd is told of no path in a jail.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow};
use banger_protocol::install::jail::SOCKETS;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};

use crate::Failure;

/// The word that makes our program do this.
pub const COMMAND: &str = "enter-jail";

/// Our own program: the unit runs it again. After an update it is the new one.
pub(super) fn program() -> Result<PathBuf, Failure> {
    let link = "/proc/self/exe";
    let path = std::fs::read_link(link).map_err(|e| Failure::os("readlink", link, e))?;
    let text = path.to_string_lossy();
    Ok(PathBuf::from(
        text.strip_suffix(" (deleted)").unwrap_or(&text),
    ))
}

/// Becomes the jailer. It comes back only with what went wrong.
pub fn enter(sockets: &Path, root: &Path, jailer: &[OsString]) -> anyhow::Error {
    let Some((program, arguments)) = jailer.split_first() else {
        return anyhow!("the jailer is not named");
    };
    match share(sockets, root) {
        Ok(()) => {
            let error = Command::new(program).args(arguments).exec();
            anyhow::Error::new(error).context(format!("run {}", program.display()))
        }
        Err(error) => error,
    }
}

/// Mounts the socket directory in the jail, in a mount namespace of its own.
pub fn share(sockets: &Path, root: &Path) -> anyhow::Result<()> {
    // The unit's is private already. What is mounted here leaves it in no case.
    unshare(CloneFlags::CLONE_NEWNS).context("unshare the mounts")?;
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", downstream).context("make the mounts slaves")?;

    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = |path: &Path| {
        openat2(CWD, path, flags, Mode::empty(), no_links)
            .with_context(|| format!("open {}", path.display()))
    };
    let (sockets, root) = (open(sockets)?, open(root)?);
    let name = SOCKETS.trim_start_matches('/');
    let beneath = no_links | ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    let place = openat2(&root, name, flags, Mode::empty(), beneath)
        .with_context(|| format!("open {SOCKETS} in the jail"))?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(&sockets, "", clone).context("open_tree of the sockets")?;
    let onto = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &place, "", onto).context("mount the sockets in the jail")
}
