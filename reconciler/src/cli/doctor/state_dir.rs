//! The disk under the state directory: room, kind of file system, reflinks.

use std::path::{Path, PathBuf};

use banger_core::config::Disk;
use banger_protocol::Install;
use rustix::fs::{CWD, Mode, OFlags, ioctl_ficlone, openat, statfs};

use super::Check;
use crate::cli::system::layout::STATE_DIR;

const FEW: u64 = 5 << 30;

#[derive(Clone, Debug)]
struct Reading {
    directory: PathBuf,
    /// `f_type` of statfs(2).
    kind: i64,
    free: u64,
    /// Whether a file could be cloned there; `None`: this account may not try.
    reflink: Option<bool>,
}

pub(super) fn checks(install: Option<&Install>) -> Vec<Check> {
    let wanted = install.map_or(Path::new(STATE_DIR), |install| &install.state_dir);
    match read(wanted) {
        Ok(reading) => judge(&reading),
        Err(why) => vec![Check::skip("disk space", why)],
    }
}

/// Of the directory, or of the nearest above it that is there.
fn read(wanted: &Path) -> Result<Reading, String> {
    let there = |directory: &&Path| directory.symlink_metadata().is_ok();
    let directory = wanted.ancestors().find(there).unwrap_or(Path::new("/"));
    let told = |errno| format!("{}: {errno}", directory.display());
    let found = statfs(directory).map_err(told)?;
    Ok(Reading {
        directory: directory.to_owned(),
        kind: found.f_type,
        free: found.f_bavail * found.f_bsize.unsigned_abs(),
        reflink: can_clone(directory),
    })
}

/// Tried on two files without names, so that nothing stays whatever happens.
fn can_clone(directory: &Path) -> Option<bool> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = || openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR).ok();
    let (from, to) = (file()?, file()?);
    rustix::io::write(&from, &[0; 4096]).ok()?;
    Some(ioctl_ficlone(&to, &from).is_ok())
}

fn judge(reading: &Reading) -> Vec<Check> {
    let directory = reading.directory.display();
    #[allow(clippy::cast_precision_loss, reason = "it is rounded to one digit")]
    let gib = reading.free as f64 / (1_u64 << 30) as f64;
    let message = format!("{gib:.1} GiB free in {directory}");
    let remedy = "make room on that file system, or see `du -sh` of the trash below it";
    // What the configuration says is the daemon's to know: see `disk pressure`.
    let least = Disk::default().pause_creates_below;
    let space = if reading.free < least.bytes() {
        Check::fail("disk space", message, remedy)
    } else if reading.free < FEW {
        Check::warn("disk space", message, remedy)
    } else {
        Check::pass("disk space", message)
    };
    vec![space, kind(reading)]
}

/// Magic numbers of linux/magic.h.
fn kind(reading: &Reading) -> Check {
    const NAME: &str = "file system";
    let clones = match reading.reflink {
        Some(true) => "with reflinks",
        Some(false) => "without reflinks: disks are copied",
        None => "this account can't try reflinks",
    };
    let lost = "put the state directory on ext4, XFS or btrfs";
    match reading.kind {
        0xef53 => Check::pass(NAME, format!("ext4, {clones}")),
        0x5846_5342 => Check::pass(NAME, format!("XFS, {clones}")),
        0x9123_683e => Check::pass(NAME, format!("btrfs, {clones}")),
        0x0102_1994 => Check::warn(NAME, "tmpfs: disks are lost at a reboot", lost),
        0x6969 | 0xff53_4d42 | 0x517b => Check::warn(
            NAME,
            "a network file system: a server that is away stops every VM",
            lost,
        ),
        other => Check::warn(
            NAME,
            format!("of type {other:#x}, which banger wasn't tried on; {clones}"),
            lost,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{Reading, can_clone, judge};

    fn told(kind: i64, free: u64, reflink: Option<bool>) -> (Verdict, Verdict, String) {
        let checks = judge(&Reading {
            directory: "/var/lib/banger".into(),
            kind,
            free,
            reflink,
        });
        (
            checks[0].verdict,
            checks[1].verdict,
            checks[1].message.clone(),
        )
    }

    #[test]
    fn room_and_kind_are_judged() {
        let gib = 1 << 30;
        let xfs = told(0x5846_5342, 20 * gib, Some(true));
        assert_eq!(xfs.0, Verdict::Pass);
        assert_eq!(xfs.2, "XFS, with reflinks");
        assert_eq!(told(0xef53, 2 * gib, Some(false)).0, Verdict::Warn);
        assert_eq!(told(0xef53, gib / 2, None).0, Verdict::Fail);
        assert_eq!(told(0x0102_1994, 20 * gib, None).1, Verdict::Warn);
        assert_eq!(told(0x6969, 20 * gib, None).1, Verdict::Warn);
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn trying_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let _ = can_clone(directory.path());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
