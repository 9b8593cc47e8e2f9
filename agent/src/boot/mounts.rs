//! The kernel's own file systems.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, move_mount, unmount,
};

use crate::fault::{During, Fault};
use crate::guest::Root;

/// Name and where it is mounted.
const KERNEL: [(&str, &str); 3] = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")];

/// In the initrd.
pub(super) fn early() -> Result<(), Fault> {
    for (kind, at) in KERNEL {
        match mount(kind, at, kind, MountFlags::NOSUID, None) {
            // The kernel did it (CONFIG_DEVTMPFS_MOUNT).
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(error).during(format!("mounting {at}")),
        }
    }
    Ok(())
}

/// In the image's root; its directories may be links, which stay inside it.
pub(super) fn kernel_file_systems(root: &Root) -> Result<(), Fault> {
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount_in(root, "proc", "/proc", &[], quiet)?;
    mount_in(root, "sysfs", "/sys", &[], quiet)?;
    let devices = MountAttrFlags::MOUNT_ATTR_NOSUID;
    mount_in(root, "devtmpfs", "/dev", &[], devices)?;
    // systemd and every other init leave a /run that is mounted alone.
    let memory = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    mount_in(root, "tmpfs", "/run", &[("mode", "0755")], memory)
}

/// Takes the initrd's own away, for nobody can see them after the hand-over.
pub(super) fn forget_early() {
    for (_, at) in KERNEL {
        // What is busy stays; it costs nothing.
        let _ = unmount(at, UnmountFlags::DETACH);
    }
}

/// Mounts on exactly this directory, whatever path led to it, and gives the
/// root of what was mounted. (The directory's own descriptor keeps meaning what
/// is beneath the mount.)
pub(super) fn mount_on(
    directory: impl AsFd,
    kind: &str,
    source: &Path,
    options: &[(&str, &str)],
    flags: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", source)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&mounted, "", directory, "", both)?;
    Ok(mounted)
}

fn mount_in(
    root: &Root,
    kind: &str,
    at: &str,
    options: &[(&str, &str)],
    flags: MountAttrFlags,
) -> Result<(), Fault> {
    root.directory(at, 0o755)
        .and_then(|directory| mount_on(directory, kind, Path::new(kind), options, flags))
        .map(drop)
        .during(format!("mounting {at} of the image"))
}
