//! Where everything stands. Paths only; nothing here touches a file.
//!
//! ```text
//! <state>/vms/<uid>/{root.cow, work.ext4, serial.log, leaving, handles.json, vm.json}
//! <state>/images/<digest>/{rootfs.ext4, vmlinux, initrd}
//! <state>/trash/<uid>-<name>-<time>/…
//! <state>/ballast
//! <runtime>/vms/<uid>/{fc.sock, v.sock, v.sock_1024, metrics}
//! <known hosts, in the owner's home>/<uid>
//! ```

use std::path::{Path, PathBuf};

use banger_core::intent::ImageDigest;
use banger_protocol::{DiskRole, VmUid};

/// The directories of one installation.
#[derive(Clone, Debug)]
pub struct Layout {
    state: PathBuf,
    runtime: PathBuf,
    known_hosts: PathBuf,
}

impl Layout {
    /// With these directories for state, sockets and guests' host keys.
    pub fn new(
        state: impl Into<PathBuf>,
        runtime: impl Into<PathBuf>,
        known_hosts: impl Into<PathBuf>,
    ) -> Self {
        Self {
            state: state.into(),
            runtime: runtime.into(),
            known_hosts: known_hosts.into(),
        }
    }

    /// VMs' directories.
    pub fn vms(&self) -> PathBuf {
        self.state.join("vms")
    }

    /// A VM's directory.
    pub fn vm(&self, uid: VmUid) -> PathBuf {
        self.vms().join(uid.to_string())
    }

    /// The copy-on-write store.
    pub fn cow(&self, uid: VmUid) -> PathBuf {
        self.vm(uid).join("root.cow")
    }

    /// The work disk.
    pub fn work(&self, uid: VmUid) -> PathBuf {
        self.vm(uid).join("work.ext4")
    }

    /// The file of a disk that belongs to the VM; `None` for the image's.
    pub fn disk(&self, uid: VmUid, role: DiskRole) -> Option<PathBuf> {
        match role {
            DiskRole::Base => None,
            DiskRole::Cow => Some(self.cow(uid)),
            DiskRole::Work => Some(self.work(uid)),
        }
    }

    /// The serial console's log.
    pub fn serial_log(&self, uid: VmUid) -> PathBuf {
        self.vm(uid).join("serial.log")
    }

    /// The guest's pinned SSH host keys.
    pub fn known_hosts(&self, uid: VmUid) -> PathBuf {
        self.known_hosts.join(uid.to_string())
    }

    /// There once the guest announced its end, until the next start.
    pub fn leaving(&self, uid: VmUid) -> PathBuf {
        self.vm(uid).join("leaving")
    }

    /// The scratch file with the VM's handles.
    pub fn handles(&self, uid: VmUid) -> PathBuf {
        self.vm(uid).join("handles.json")
    }

    /// The VM as it was last made or started.
    pub fn record(&self, uid: VmUid) -> PathBuf {
        self.vm(uid).join("vm.json")
    }

    /// The directory that a VMM's sockets share with the daemon.
    pub fn sockets(&self, uid: VmUid) -> PathBuf {
        self.runtime.join("vms").join(uid.to_string())
    }

    /// Imported images.
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// An imported image.
    pub fn image(&self, digest: &ImageDigest) -> PathBuf {
        self.images().join(&digest.0)
    }

    /// An image's root file system.
    pub fn rootfs(&self, digest: &ImageDigest) -> PathBuf {
        self.image(digest).join("rootfs.ext4")
    }

    /// An image's kernel.
    pub fn kernel(&self, digest: &ImageDigest) -> PathBuf {
        self.image(digest).join("vmlinux")
    }

    /// An image's initrd.
    pub fn initrd(&self, digest: &ImageDigest) -> PathBuf {
        self.image(digest).join("initrd")
    }

    /// Disks that are kept for a while.
    pub fn trash(&self) -> PathBuf {
        self.state.join("trash")
    }

    /// The file that only takes room.
    pub fn ballast(&self) -> PathBuf {
        self.state.join("ballast")
    }

    /// The state directory itself.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Whether a digest is 64 hexadecimal digits, so that its path stays below
    /// the images' directory.
    pub fn is_digest(digest: &ImageDigest) -> bool {
        digest.0.len() == 64 && digest.0.bytes().all(|b| b.is_ascii_hexdigit())
    }
}
