//! The one process of a VMM, found in its unit's cgroup.
//!
//! It is known by its uid, which isn't root's any more: a VMM may rename its own
//! program, fork, and end its first thread, but it can't become root. Before that
//! the process is root's, and known by its program: ours, then the jailer's. What
//! root runs in the unit after the VMM's end is neither.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use banger_protocol::VmUid;
use banger_protocol::inventory::{Executable, Process};
use nix::libc;

use super::entrance;
use crate::{Failure, Host};

/// The process that becomes the jailer and then Firecracker. Of several that are
/// the VMM's it is the first: the others are its children, and systemd ends
/// them with it.
pub fn of(host: &Host, uid: VmUid) -> Result<Option<Process>, Failure> {
    if !host.cgroups.join("cgroup.controllers").exists() {
        return Err(Failure::refused(
            "cgroup",
            format!(
                "no unified hierarchy (cgroup v2) at {}",
                host.cgroups.display()
            ),
        ));
    }
    let path = host.slice().join(uid.unit()).join("cgroup.procs");
    let pids = match fs::read_to_string(&path) {
        Ok(pids) => pids,
        // ENODEV: the cgroup went away while it was open.
        Err(e) if absent(&e) || e.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
        Err(e) => return Err(Failure::os("read", path.display().to_string(), e)),
    };
    let mut first: Option<Process> = None;
    for pid in pids.lines().filter_map(|line| line.parse().ok()) {
        if is_vmm(host, pid)?
            && let Some(start_time) = start_time(pid)?
            && first.is_none_or(|first| (start_time, pid) < (first.start_time, first.pid))
        {
            first = Some(Process { pid, start_time });
        }
    }
    Ok(first)
}

/// Whose file the process runs. The file itself is looked at, wherever it is and
/// whatever it is called by now; it isn't opened.
pub fn executable(process: Process) -> Result<Executable, Failure> {
    /// Whoever else may write to it: its group, and everybody.
    const OTHERS_WRITE: u32 = 0o022;
    let path = format!("/proc/{}/exe", process.pid);
    let file = fs::metadata(&path).map_err(|e| Failure::os("stat", &path, e))?;
    if start_time(process.pid)? != Some(process.start_time) {
        return Err(Failure::later("stat", format!("{path}: it has ended")));
    }
    Ok(if file.uid() == 0 && file.mode() & OTHERS_WRITE == 0 {
        Executable::Installed
    } else {
        Executable::Replaced
    })
}

/// Whether a process of the unit is the VMM, or about to become it.
fn is_vmm(host: &Host, pid: u32) -> Result<bool, Failure> {
    let path = format!("/proc/{pid}/status");
    let uid = match fs::read_to_string(&path) {
        Ok(status) => real_uid(&status).ok_or_else(|| not_as_expected(&path))?,
        Err(e) if absent(&e) => return Ok(false),
        Err(e) => return Err(Failure::os("read", path, e)),
    };
    if uid != 0 {
        return Ok(true);
    }
    let link = format!("/proc/{pid}/exe");
    let exe = match fs::read_link(&link) {
        Ok(exe) => exe,
        Err(e) if absent(&e) => return Ok(false),
        Err(e) => return Err(Failure::os("readlink", link, e)),
    };
    // It may have been replaced since, and unlinked thereby.
    let name = exe.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = name.as_deref().map(|n| n.trim_end_matches(" (deleted)"));
    let own = entrance::program()?;
    Ok([&own, &host.install.jailer]
        .iter()
        .any(|p| p.file_name().and_then(|n| n.to_str()) == name))
}

/// The first number of `Uid:`: real, effective, saved, file system (proc(5)).
fn real_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)); `None` for a zombie or nobody.
fn start_time(pid: u32) -> Result<Option<u64>, Failure> {
    let path = format!("/proc/{pid}/stat");
    match fs::read_to_string(&path) {
        Ok(stat) => match parse_stat(&stat) {
            Some(Stat::Ended) => Ok(None),
            Some(Stat::Since(start_time)) => Ok(Some(start_time)),
            // A process that can't be made out has not ended for that.
            None => Err(not_as_expected(&path)),
        },
        Err(e) if absent(&e) => Ok(None),
        Err(e) => Err(Failure::os("read", path, e)),
    }
}

fn not_as_expected(path: &str) -> Failure {
    Failure::refused("read", format!("{path} isn't as in proc(5)"))
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, PartialEq, Eq)]
enum Stat {
    /// A zombie, or dead.
    Ended,
    /// It runs, since then.
    Since(u64),
}

/// The command's name may hold anything: fields count from its last `)`. A
/// zombie whose other threads go on has ended its first thread only.
fn parse_stat(stat: &str) -> Option<Stat> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // State is field 3, so 20 is the seventeenth after it, and 22 the second after that.
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let start_time = fields.nth(1)?.parse().ok()?;
    match state {
        "X" => Some(Stat::Ended),
        "Z" if threads <= 1 => Some(Stat::Ended),
        _ => Some(Stat::Since(start_time)),
    }
}

fn absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_command_name_moves_no_field() {
        let stat = "42 (a) R 1 (b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 100 200";
        assert_eq!(parse_stat(stat), Some(Stat::Since(987_654)));
        assert_eq!(parse_stat(&stat.replace(") S", ") Z")), Some(Stat::Ended));
        assert_eq!(parse_stat("42 (x"), None);
    }

    #[test]
    fn a_process_without_its_first_thread_has_not_ended() {
        let stat = "42 (fc) Z 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987654 0 0";
        assert_eq!(parse_stat(stat), Some(Stat::Since(987_654)));
        let reaped = stat.replace(" 20 0 3 0 ", " 20 0 1 0 ");
        assert_eq!(parse_stat(&reaped), Some(Stat::Ended));
    }

    #[test]
    fn the_uid_is_the_real_one() {
        let status = "Name:\tUid:\\n0\nState:\tS\nUid:\t50003\t1\t2\t3\nGid:\t7\t7\t7\t7\n";
        assert_eq!(real_uid(status), Some(50_003));
        assert_eq!(real_uid("Name:\tx\n"), None);
    }
}
