//! Whether this host can run banger: each check says what is missing and what to do.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use super::layout::MODULES;
use super::program::try_run;

/// One thing that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What it is.
    pub(super) what: String,
    /// What is wrong, and what to do; `None`: it is well.
    pub(super) wrong: Option<(String, String)>,
}

/// Loads what can be loaded and looks at everything.
pub(super) fn prepare_and_check() -> Vec<Check> {
    for module in MODULES {
        // Built in, or missing: the checks below tell which.
        let _ = try_run("modprobe", &["-q", module]);
    }
    check()
}

/// Looks at everything and changes nothing.
pub(super) fn check() -> Vec<Check> {
    let mut checks = vec![
        it(
            "systemd",
            Path::new("/run/systemd/system").is_dir(),
            "this host wasn't booted with systemd",
            "banger's services and VMs are units of systemd; boot the host with it",
        ),
        it(
            "cgroup v2",
            Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
            "/sys/fs/cgroup is not a cgroup v2 hierarchy",
            "boot with `systemd.unified_cgroup_hierarchy=1`",
        ),
        kvm(),
        device("/dev/net/tun", "tun"),
        device("/dev/loop-control", "loop"),
        device("/dev/mapper/control", "dm_mod"),
        snapshot_target(),
    ];
    for (program, package) in [
        ("dmsetup", "dmsetup"),
        ("nft", "nftables"),
        ("mkfs.ext4", "e2fsprogs"),
        ("ssh", "openssh-client"),
        ("ssh-keygen", "openssh-client"),
    ] {
        checks.push(it(
            program,
            find_program(program).is_some(),
            &format!("the program `{program}` isn't there"),
            &format!("`apt install {package}`"),
        ));
    }
    checks
}

/// A program of the system's; never looked for in the caller's PATH.
fn find_program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        .into_iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
}

fn it(what: &str, well: bool, wrong: &str, help: &str) -> Check {
    Check {
        what: what.to_owned(),
        wrong: (!well).then(|| (wrong.to_owned(), help.to_owned())),
    }
}

fn kvm() -> Check {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    let wrong = match opened {
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
        Err(error) => Some((
            format!("/dev/kvm can't be opened: {error}"),
            "turn on virtualisation in the firmware and load kvm_intel or kvm_amd; \
             in a virtual machine, nested virtualisation has to be on"
                .to_owned(),
        )),
    };
    Check {
        what: "/dev/kvm".to_owned(),
        wrong,
    }
}

fn device(path: &str, module: &str) -> Check {
    it(
        path,
        Path::new(path).exists(),
        &format!("{path} isn't there"),
        &format!("load its module: `modprobe {module}`"),
    )
}

/// Only root may ask device-mapper; others take the device's word for it.
fn snapshot_target() -> Check {
    let known = match try_run("dmsetup", &["targets"]) {
        Some(targets) => targets.lines().any(|line| line.starts_with("snapshot ")),
        None => true,
    };
    it(
        "dm-snapshot",
        known,
        "device-mapper has no snapshot target",
        "load its module: `modprobe dm_snapshot`; some cloud kernels leave it out",
    )
}
