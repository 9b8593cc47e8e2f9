//! The world as the VMM's own mount namespace has it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::{Outcome, status};

/// What the host has and a jail hasn't.
const ELSEWHERE: [&str; 8] = [
    "/etc/shadow",
    "/proc/self",
    "/usr/bin",
    "/var/lib/banger",
    "/run/banger/helper.sock",
    "/run/systemd/private",
    "/dev/mapper/control",
    "/dev/loop0",
];

/// Everything that is there, by directory.
const THERE: [(&str, &[&str]); 5] = [
    (
        "/",
        &[
            "dev",
            "firecracker",
            "firecracker.pid",
            "initrd",
            "kernel",
            "rootdrive",
            "run",
            "s",
        ],
    ),
    ("/dev", &["kvm", "net", "urandom", "userfaultfd"]),
    ("/dev/net", &["tun"]),
    ("/run", &[]),
    ("/s", &["fc.sock", "metrics", "v.sock", "v.sock_1024"]),
];

pub(super) fn run(pid: u32) -> Result<Vec<Outcome>> {
    let namespace = |pid: &str| File::open(format!("/proc/{pid}/ns/mnt"));
    let (host, jail) = (namespace("1")?, namespace(&pid.to_string())?);
    let top = which(&super::jail_of(pid))?;
    let account = status(&pid.to_string(), "Uid:")?;
    let account: u32 = account.split_whitespace().next().unwrap_or("0").parse()?;
    ensure!(account != 0, "the VMM is root's");
    for path in ELSEWHERE {
        fs::symlink_metadata(path).with_context(|| format!("the host itself lacks {path}"))?;
    }
    setns(jail, CloneFlags::CLONE_NEWNS).context("enter the VMM's mount namespace")?;
    ensure!(which("/")? == top, "the namespace's root is not the VMM's");
    let (uid, gid) = (Uid::from_raw(account), Gid::from_raw(account));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    nix::sys::prctl::set_no_new_privs()?;

    let mut outcomes: Vec<Outcome> = vec![
        ("its own drive".into(), own_drive()),
        ("its own socket".into(), own_socket()),
        ("nothing above it".into(), nothing_above()),
    ];
    for (directory, entries) in THERE {
        outcomes.push((format!("all of {directory}"), holds(directory, entries)));
    }
    for path in ELSEWHERE {
        let result = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            found => Err(anyhow!("{found:?}")),
        };
        outcomes.push((format!("no {path}"), result));
    }
    let none: Option<&str> = None;
    let powers: [(&str, io::Result<()>); 6] = [
        (
            "the way back to the host",
            setns(host, CloneFlags::CLONE_NEWNS).map_err(io::Error::from),
        ),
        (
            "a mount",
            nix::mount::mount(none, "/run", Some("tmpfs"), MsFlags::empty(), none)
                .map_err(io::Error::from),
        ),
        (
            "its sockets without their mount",
            nix::mount::umount("/s").map_err(io::Error::from),
        ),
        (
            "another root",
            rustix::process::chroot("/run").map_err(io::Error::from),
        ),
        (
            "a device node",
            mknodat(
                CWD,
                "/run/node",
                FileType::BlockDevice,
                Mode::RUSR,
                makedev(7, 0),
            )
            .map_err(io::Error::from),
        ),
        (
            "root's account",
            setresuid(0.into(), 0.into(), 0.into()).map_err(io::Error::from),
        ),
    ];
    for (what, result) in powers {
        let refused = match result {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => Err(anyhow!("{other:?}")),
        };
        outcomes.push((what.into(), refused));
    }
    Ok(outcomes)
}

fn own_drive() -> Result<()> {
    File::options().read(true).write(true).open("/rootdrive")?;
    Ok(())
}

fn own_socket() -> Result<()> {
    UnixStream::connect("/s/fc.sock")?;
    Ok(())
}

fn nothing_above() -> Result<()> {
    ensure!(which("/../..")? == which("/")?, "there is");
    Ok(())
}

/// Device and inode.
fn which(path: &str) -> Result<(u64, u64)> {
    let found = fs::metadata(path).with_context(|| path.to_owned())?;
    Ok((found.dev(), found.ino()))
}

fn holds(directory: &str, entries: &[&str]) -> Result<()> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        found.push(entry?.file_name().to_string_lossy().into_owned());
    }
    found.sort();
    ensure!(found == entries, "{found:?}");
    Ok(())
}
