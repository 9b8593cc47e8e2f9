//! `/etc/banger/install.toml`: what `banger system install` decided. Root owns
//! it; helper and daemon read it, and nothing of the owner's overrides it.

use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{Ula, VmUid};

/// Where the metadata stands.
pub const PATH: &str = "/etc/banger/install.toml";
/// Runtime directory: sockets of helper, daemon and VMMs.
pub const RUNTIME_DIR: &str = "/run/banger";
/// The helper's socket.
pub const HELPER_SOCKET: &str = "/run/banger/helper.sock";
/// The daemon's socket.
pub const DAEMON_SOCKET: &str = "/run/banger/bangerd.sock";

/// The install metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Install {
    /// The owner's login name.
    pub owner: String,
    /// The only uid that the helper serves.
    pub owner_uid: u32,
    /// Group of the sockets that a VMM shares with the daemon.
    pub owner_gid: u32,
    /// Disks, images and the database; the owner's. Default `/var/lib/banger`.
    pub state_dir: PathBuf,
    /// Jails; root's, on a disk. Default `/var/lib/banger-helper/jail`.
    pub jail_dir: PathBuf,
    /// The bridge. Default `br-banger`.
    pub bridge: String,
    /// Guests' addresses. Default 172.30.0.0/16.
    pub subnet: Ipv4Net,
    /// Guests' IPv6 addresses, read by [`Self::ula`]. `None`: written before
    /// there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet6: Option<Ula>,
    /// First uid (and gid) of the VMMs; slot n runs as `uid_base + n`.
    pub uid_base: u32,
    /// How many slots there are.
    pub slots: u16,
    /// Root-owned copy.
    pub firecracker: PathBuf,
    /// Root-owned copy.
    pub jailer: PathBuf,
    /// The static guest agent.
    pub agent: PathBuf,
}

impl Install {
    /// The guests' IPv6 prefix. Default: [`Ula::beside`] the IPv4 subnet.
    pub fn ula(&self) -> Ula {
        self.subnet6.unwrap_or_else(|| Ula::beside(self.subnet))
    }

    /// The directory that a VMM's sockets share with the daemon:
    /// owner the VMM's uid, group the owner's, mode 2770. Its parent lets nobody
    /// but root and the owner through.
    pub fn socket_dir(uid: VmUid) -> PathBuf {
        Path::new(RUNTIME_DIR).join("vms").join(uid.to_string())
    }
}

/// Names inside the jail, as Firecracker's API must be given them.
pub mod jail {
    /// The kernel, an ELF vmlinux.
    pub const KERNEL: &str = "/kernel";
    /// The boot initrd.
    pub const INITRD: &str = "/initrd";
    /// Device node of the root disk.
    pub const ROOT_DRIVE: &str = "/rootdrive";
    /// Device node of the work disk.
    pub const WORK_DRIVE: &str = "/workdrive";
    /// The socket directory, mounted from [`super::Install::socket_dir`].
    pub const SOCKETS: &str = "/s";
}

/// Names in the socket directory.
pub mod socket {
    /// Firecracker's API.
    pub const API: &str = "fc.sock";
    /// vsock, host side; a guest's connection to port P arrives at `v.sock_P`.
    pub const VSOCK: &str = "v.sock";
    /// Firecracker's metrics, one JSON object per line.
    pub const METRICS: &str = "metrics";
}
