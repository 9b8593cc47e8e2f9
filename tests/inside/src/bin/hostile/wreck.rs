//! Everything that the VMM may write, replaced: by links to what is root's, by
//! FIFOs, by directories where files are expected and the other way round, by more
//! and deeper than anybody put there, and by programs under the names of root's.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;

use anyhow::{Context as _, Result, ensure};
use banger_protocol::install;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, chmodat, linkat, mkdirat, mknodat, openat, renameat,
    symlinkat, unlinkat,
};

use super::jail_of;

/// Where the system's own programs are, which root runs.
const PROGRAMS: &str = "/usr/bin";
/// Those that the unit of a VMM runs after its end, and their like.
const NAMES: [&str; 5] = ["sh", "dash", "mv", "printf", "env"];
/// Levels of directories, and files in one directory.
const DEEP: usize = 150;
const MANY: usize = 1_000;
/// Names under which deep directories were once moved aside.
const ASIDE: usize = 40;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

pub(super) fn run(pid: u32, decoys: &str) -> Result<()> {
    ensure!(!rustix::process::geteuid().is_root(), "root has no jail");
    let top = jail_of(pid);
    let jail = rustix::fs::open(&top, DIRECTORY, Mode::empty()).context("its jail")?;
    let sockets = open(jail.as_fd(), "s")?;
    let wreck = Wreck { decoys };
    // While the way there is still what it was.
    let _bound = UnixListener::bind(format!("{top}/bound"))?;
    for name in NAMES {
        impostor(sockets.as_fd(), name)?;
    }
    wreck.sockets(sockets.as_fd()).context("its sockets")?;
    for directory in [&sockets, &jail] {
        wreck.clutter(directory.as_fd()).context("the clutter")?;
    }
    wreck.root(jail.as_fd()).context("its root")
}

struct Wreck<'a> {
    decoys: &'a str,
}

impl Wreck<'_> {
    /// What the daemon connects to and listens at.
    fn sockets(&self, at: BorrowedFd<'_>) -> Result<()> {
        for (name, target) in [
            ("fc.sock", install::HELPER_SOCKET),
            ("v.sock", install::DAEMON_SOCKET),
        ] {
            remove(at, name)?;
            symlinkat(target, at, name)?;
        }
        remove(at, "v.sock_1024")?;
        mkdirat(at, "v.sock_1024", Mode::RWXU)?;
        touch(
            openat(at, "v.sock_1024", DIRECTORY, Mode::empty())?.as_fd(),
            "full",
        )?;
        remove(at, "metrics")?;
        fifo(at, "metrics")
    }

    /// What has a name that root used, becomes a link to what is root's.
    fn root(&self, at: BorrowedFd<'_>) -> Result<()> {
        for (name, target) in [
            ("kernel", "/etc/shadow".to_owned()),
            ("initrd", format!("{}/secret", self.decoys)),
            ("rootdrive", format!("{}/secret", self.decoys)),
        ] {
            remove(at, name)?;
            symlinkat(target, at, name)?;
        }
        // The program that runs has another name from now on.
        renameat(at, "firecracker", at, "x")?;
        fifo(at, "firecracker")?;
        fifo(at, "exit")?;
        fifo(at, "exit.new")?;
        unlinkat(at, "run", AtFlags::REMOVEDIR)?;
        symlinkat(format!("{}/tree", self.decoys), at, "run")?;
        renameat(at, "dev", at, "was-dev")?;
        symlinkat(format!("{}/tree", self.decoys), at, "dev")?;
        // Whoever mounts the sockets at this place mounts them over root's programs.
        renameat(at, "s", at, "was-s")?;
        symlinkat(PROGRAMS, at, "s")?;
        Ok(())
    }

    /// What makes a removal follow, wait, fail, or take for ever.
    fn clutter(&self, at: BorrowedFd<'_>) -> Result<()> {
        deep(at, "a-deep")?;
        for n in 1..ASIDE {
            let name = format!(".banger-deep-{n}");
            match n % 2 {
                0 => touch(at, &name)?,
                _ => {
                    mkdirat(at, &name, Mode::RWXU)?;
                    touch(open(at, &name)?.as_fd(), "full")?;
                }
            }
        }
        deep(at, "z-deep")?;

        symlinkat("/", at, "slash")?;
        symlinkat("..", at, "up")?;
        symlinkat("itself", at, "itself")?;
        symlinkat(self.decoys, at, "decoys")?;
        for name in [&b"-rf"[..], b" ", b"new\nline", b"\xff\xfe", b"*"] {
            touch(at, OsStr::from_bytes(name))?;
        }
        touch(at, &*"n".repeat(255))?;
        fifo(at, "fifo")?;
        for n in 0..20 {
            linkat(at, "fifo", at, format!("link-{n}"), AtFlags::empty())?;
        }

        mkdirat(at, "many", Mode::RWXU)?;
        let many = open(at, "many")?;
        for n in 0..MANY {
            touch(many.as_fd(), &*n.to_string())?;
        }
        // Nobody but it may enter the one, or remove from the other.
        for (name, mode) in [("closed", 0), ("sticky", 0o1777)] {
            mkdirat(at, name, Mode::RWXU)?;
            touch(open(at, name)?.as_fd(), "full")?;
            chmodat(at, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        Ok(())
    }
}

/// This program under the name of another.
fn impostor(at: BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut file = File::from(openat(at, name, flags, Mode::from_raw_mode(0o700))?);
    file.write_all(&fs::read("/proc/self/exe")?)?;
    chmodat(at, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
    Ok(())
}

fn open(at: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    openat(at, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
        .with_context(|| format!("open {name}"))
}

fn deep(at: BorrowedFd<'_>, name: &str) -> Result<()> {
    mkdirat(at, name, Mode::RWXU)?;
    let mut here = open(at, name)?;
    for _ in 0..DEEP {
        mkdirat(&here, "d", Mode::RWXU)?;
        here = open(here.as_fd(), "d")?;
    }
    symlinkat("/", &here, "slash")?;
    touch(here.as_fd(), "full")
}

fn touch(at: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<()> {
    mknodat(at, name, FileType::RegularFile, Mode::RUSR | Mode::WUSR, 0)?;
    Ok(())
}

fn fifo(at: BorrowedFd<'_>, name: &str) -> Result<()> {
    mknodat(at, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .with_context(|| format!("a FIFO at {name}"))
}

fn remove(at: BorrowedFd<'_>, name: &str) -> Result<()> {
    unlinkat(at, name, AtFlags::empty()).with_context(|| format!("remove {name}"))
}
