//! `/etc/banger/install.toml`: what `banger system install` decided. Root owns
//! it; helper and daemon read it, and nothing of the owner's overrides it.

use std::net::Ipv4Addr;
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

/// Disks, images and the database; the owner's.
pub const STATE_DIR: &str = "/var/lib/banger";
/// The helper's own; root's.
pub const HELPER_DIR: &str = "/var/lib/banger-helper";
/// Jails, beneath the helper's directory.
pub const JAIL_DIR: &str = "/var/lib/banger-helper/jail";
/// Root-owned copies of every program.
pub const LIB_DIR: &str = "/usr/lib/banger";
/// The bridge.
pub const BRIDGE: &str = "br-banger";
/// Guests' addresses.
pub const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 30, 0, 0), 16);
/// First uid of the VMMs. From 1879048192 to 2147483647 nobody else allocates
/// (systemd's "Users, Groups, UIDs and GIDs").
pub const UID_BASE: u32 = 1_900_000_000;
/// How many VMs there can be, where the subnet has that many addresses.
pub const SLOTS: u16 = 1024;

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
    /// Disks, images and the database; the owner's. Default [`STATE_DIR`].
    pub state_dir: PathBuf,
    /// Jails; root's, on a disk. Default [`JAIL_DIR`].
    pub jail_dir: PathBuf,
    /// The bridge. Default [`BRIDGE`].
    pub bridge: String,
    /// Guests' addresses. Default [`SUBNET`].
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
    /// What an installation is where only owner and subnet are said.
    pub fn of(owner: &str, uid: u32, gid: u32, subnet: Ipv4Net) -> Self {
        // Network, gateway and broadcast are nobody's.
        let addresses = (1_u64 << (32 - u32::from(subnet.prefix_len()))).saturating_sub(3);
        let program = |name: &str| Path::new(LIB_DIR).join(name);
        Self {
            owner: owner.to_owned(),
            owner_uid: uid,
            owner_gid: gid,
            state_dir: STATE_DIR.into(),
            jail_dir: JAIL_DIR.into(),
            bridge: BRIDGE.to_owned(),
            subnet,
            subnet6: Some(Ula::beside(subnet)),
            uid_base: UID_BASE,
            slots: u16::try_from(addresses).map_or(SLOTS, |it| it.min(SLOTS)),
            firecracker: program("firecracker"),
            jailer: program("jailer"),
            agent: program("banger-agent"),
        }
    }

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
