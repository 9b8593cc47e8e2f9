//! Where an installation puts things. docs/host-requirements.md lists the same.

pub(in crate::cli) use banger_protocol::install::{
    BRIDGE, HELPER_DIR, JAIL_DIR, LIB_DIR, STATE_DIR, SUBNET,
};

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
/// The dummy interface that keeps the bridge up while no VM runs.
pub(in crate::cli) const CARRIER: &str = "bgr-carrier";

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
