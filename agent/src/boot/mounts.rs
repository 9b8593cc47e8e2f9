//! The kernel's own file systems.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::fault::{During, Fault};
use crate::guest::Root;

const QUIET: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NOEXEC)
    .union(MountFlags::NODEV);

/// Name, where it is mounted, flags and options.
const KERNEL: [(&str, &str, MountFlags); 3] = [
    ("proc", "/proc", QUIET),
    ("sysfs", "/sys", QUIET),
    ("devtmpfs", "/dev", MountFlags::NOSUID),
];

/// In the initrd.
pub(super) fn early() -> Result<(), Fault> {
    for (kind, at, flags) in KERNEL {
        match mount(kind, at, kind, flags, None) {
            // The kernel did it (CONFIG_DEVTMPFS_MOUNT).
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(error).during(format!("mounting {at}")),
        }
    }
    Ok(())
}

/// In the image's root; its directories may be links, which stay inside it.
pub(super) fn kernel_file_systems(root: &Root) -> Result<(), Fault> {
    for (kind, at, flags) in KERNEL {
        mount_in(root, kind, at, flags, None)?;
    }
    // systemd and every other init leave a /run that is mounted alone.
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount_in(root, "tmpfs", "/run", flags, Some(c"mode=0755"))
}

/// Takes the initrd's own away, for nobody can see them after the hand-over.
pub(super) fn forget_early() {
    for (_, at, _) in KERNEL {
        // What is busy stays; it costs nothing.
        let _ = unmount(at, UnmountFlags::DETACH);
    }
}

/// A path that leads to exactly this directory, whatever its name means.
pub(super) fn path_of(directory: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()).into()
}

fn mount_in(
    root: &Root,
    kind: &str,
    at: &str,
    flags: MountFlags,
    options: Option<&std::ffi::CStr>,
) -> Result<(), Fault> {
    let stage = || format!("mounting {at} of the image");
    let directory = root.directory(at, 0o755).during(stage())?;
    mount(kind, path_of(&directory), kind, flags, options).during(stage())
}
