//! The bounds of every field, with the reason of each. The schema, the checks
//! and the messages all read them from here.

use super::Quantity;

/// Processors of a VM, at most: Firecracker's `MAX_SUPPORTED_VCPUS`.
pub const MAX_VCPUS: u8 = 32;

/// Memory, at least: Debian's kernel, its initrd and systemd don't start with less.
pub const MIN_MEMORY: Quantity = Quantity::from_mib(64);
/// Memory, at most: above what any host of one person has; a slip of a unit
/// shows here and not when the host starts to swap.
pub const MAX_MEMORY: Quantity = Quantity::from_mib(1 << 20);

/// The root disk, at least: no distribution's root file system is smaller.
pub const MIN_ROOT_DISK: Quantity = Quantity::from_mib(64);
/// The work disk, at least: ext4 with its journal leaves room for files from here on.
pub const MIN_WORK_DISK: Quantity = Quantity::from_mib(16);
/// Either disk, at most: its store is one sparse file, and ext4 ends a file at
/// 16Ti; 2Ti keeps a good distance, copy-on-write tables included.
pub const MAX_DISK: Quantity = Quantity::from_mib(2 << 20);
/// The ballast, at most: more than guests can write until they are paused is
/// only room that nobody has.
pub const MAX_BALLAST: Quantity = Quantity::from_mib(64 << 10);

/// Ports of the host, from: those below are for root (ip(7), `ip_unprivileged_port_start`).
pub const MIN_HOST_PORT: u16 = 1024;
/// Published ports of one VM, at most: each costs the daemon a listening socket.
pub const MAX_PORTS: usize = 64;

/// Networks of one VM's egress policy, at most: the helper's quota. A longer
/// list belongs into a proxy's configuration.
pub const MAX_EGRESS: usize = banger_protocol::Cidrs::MOST;
/// Networks of all egress policies together, at most: they travel to the helper
/// in one frame of 64 KiB.
pub const MAX_EGRESS_TOGETHER: usize = banger_protocol::Egress::MOST;
/// IPv6 networks among these, at most: their text is longer.
pub const MAX_EGRESS6_TOGETHER: usize = banger_protocol::Egress::MOST6;

/// Seconds of grace, at most: an hour; a shutdown of the host waits for it.
pub const MAX_GRACE_SECONDS: u32 = 3600;

/// Keys of one VM, at most; with [`MAX_KEYS_BYTES`] and [`MAX_ENV_BYTES`] they
/// travel to the guest in one frame of 256 KiB, escaped as JSON.
pub const MAX_KEYS: usize = 64;
/// All keys of one VM together, at most.
pub const MAX_KEYS_BYTES: usize = 96 * 1024;
/// Environment variables of one VM, at most.
pub const MAX_ENV: usize = 256;
/// Names and values of the environment together, at most (escaping may double them).
pub const MAX_ENV_BYTES: usize = 32 * 1024;

/// Files of one VM, at most.
pub const MAX_FILES: usize = 32;
/// All files of one VM together, at most, with their paths: they travel beside
/// keys and environment, and base64 makes them longer by a third.
pub const MAX_FILES_BYTES: usize = 48 * 1024;

/// Labels of one object, at most: they are shown on one line.
pub const MAX_LABELS: usize = 64;
/// A label's or annotation's name without its prefix, and a label's value, at
/// most (Kubernetes, "Labels and Selectors", Syntax and character set).
pub const MAX_LABEL: usize = 63;
/// The prefix of a label or annotation, at most: a DNS name (RFC 1123).
pub const MAX_PREFIX: usize = 253;
/// Keys and values of all annotations together, at most (Kubernetes' own limit).
pub const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// A path, at most: `PATH_MAX` of Linux less its NUL.
pub const MAX_PATH: usize = 4095;

/// The annotation that keeps an object from being deleted.
pub const PREVENT_DELETION: &str = "banger.dev/prevent-deletion";
