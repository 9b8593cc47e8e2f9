//! What this machine has: found out by using it, not by its name.

use std::fs::OpenOptions;
use std::path::Path;

use banger_testkit::conformance::Need;

/// Why the machine can't give it.
pub(crate) fn lacks(need: Need) -> Option<String> {
    match need {
        Need::Loops => unopened("/dev/loop-control").or_else(|| no_program("losetup")),
        Need::Ext4 => no_program("mkfs.ext4"),
        Need::Taps => unopened("/dev/net/tun").or_else(no_bridges),
        Need::Nftables => no_program("nft"),
        // Opening it loads the module where the kernel has one.
        Need::DeviceMapper => unopened("/dev/mapper/control").or_else(|| no_program("dmsetup")),
        // sd_booted(3).
        Need::ServiceManager => (!Path::new("/run/systemd/system").is_dir())
            .then(|| "systemd doesn't run here".to_owned()),
        // A disposable host has all of it, and tries these cases.
        Need::Firecracker => Some("the image of these tests has no kernel".to_owned()),
    }
}

fn unopened(device: &str) -> Option<String> {
    let opened = OpenOptions::new().read(true).write(true).open(device);
    opened
        .err()
        .map(|error| format!("{device} can't be opened: {error}"))
}

/// Where the helper looks for it.
fn no_program(name: &str) -> Option<String> {
    let directories = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let found = directories
        .iter()
        .any(|directory| Path::new(directory).join(name).exists());
    (!found).then(|| format!("{name} is not installed"))
}

fn no_bridges() -> Option<String> {
    let module = "/sys/module/bridge";
    (!Path::new(module).exists()).then(|| format!("{module} is not there"))
}
