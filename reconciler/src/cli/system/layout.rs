//! Where an installation puts things. docs/host-requirements.md lists the same.

/// Root-owned copies of every program.
pub(in crate::cli) const LIB_DIR: &str = "/usr/lib/banger";
/// What the shell finds.
pub(in crate::cli) const LINK: &str = "/usr/bin/banger";
/// The same name, where the Debian package brought it (packaging/debian).
pub(in crate::cli) const PACKAGED: &str = "/usr/libexec/banger/banger";
/// systemd's directory for the administrator's units (systemd.unit(5)).
pub(in crate::cli) const UNIT_DIR: &str = "/etc/systemd/system";
/// udev's rules of the administrator's (udev(7)).
pub(in crate::cli) const RULES: &str = "/etc/udev/rules.d/11-banger.rules";
/// Modules to load at boot (modules-load.d(5)).
pub(in crate::cli) const MODULES_LOAD: &str = "/etc/modules-load.d/banger.conf";
/// Disks, images and the database; the owner's.
pub(in crate::cli) const STATE_DIR: &str = "/var/lib/banger";
/// The helper's own; root's.
pub(in crate::cli) const HELPER_DIR: &str = "/var/lib/banger-helper";
/// Jails, beneath the helper's directory.
pub(in crate::cli) const JAIL_DIR: &str = "/var/lib/banger-helper/jail";
/// The bridge.
pub(in crate::cli) const BRIDGE: &str = "br-banger";
/// The dummy interface that keeps the bridge up while no VM runs.
pub(in crate::cli) const CARRIER: &str = "bgr-carrier";
/// Guests' addresses, unless `--subnet` says otherwise.
pub(in crate::cli) const SUBNET: &str = "172.30.0.0/16";
/// First uid of the VMMs. From 1879048192 to 2147483647 nobody else allocates
/// (systemd's "Users, Groups, UIDs and GIDs").
pub(in crate::cli) const UID_BASE: u32 = 1_900_000_000;
/// How many VMs there can be, where the subnet has that many addresses.
pub(in crate::cli) const SLOTS: u16 = 1024;

/// The programs that come with banger.
pub(in crate::cli) const PROGRAMS: [&str; 4] =
    ["banger", "bangerd", "banger-helper", "banger-agent"];

/// Kernel modules that the helper, which may load none, relies on.
pub(in crate::cli) const MODULES: [&str; 6] = [
    "tun",
    "loop",
    "dm_mod",
    "dm_snapshot",
    "bridge",
    "nf_tables",
];

/// The services, in the order in which they are stopped.
pub(in crate::cli) const SERVICES: [&str; 2] = ["bangerd.service", "banger-helper.service"];
/// Their sockets.
pub(in crate::cli) const SOCKETS: [&str; 2] = ["bangerd.socket", "banger-helper.socket"];
