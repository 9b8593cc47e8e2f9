//! A process that was started earlier, perhaps by another program: named so
//! that a recycled pid is never taken for it.
//!
//! The name is pid, start time (proc(5), field 22 of `/proc/<pid>/stat`) and
//! boot id. A signal goes through a pidfd that is opened before the check, so
//! nothing can change in between.

use std::{
    fs, io,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

/// One process of this machine, for all time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessName {
    pid: i32,
    /// Clock ticks between boot and the process's start.
    start_time: u64,
    boot_id: String,
}

impl ProcessName {
    /// The name of a process that is alive now.
    ///
    /// # Errors
    /// There is no such process.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        match start_time(pid)? {
            Some(start_time) => Ok(Self {
                pid,
                start_time,
                boot_id: boot_id()?,
            }),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The pid, for people.
    #[must_use]
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// A pidfd of exactly this process; `None` if it has ended.
    ///
    /// # Errors
    /// The kernel refuses for another reason.
    pub(crate) fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let same = self.boot_id == boot_id()? && start_time(self.pid)? == Some(self.start_time);
        Ok(same.then_some(pidfd))
    }

    /// Kills it and waits until it has ended. Nothing happens if it has.
    ///
    /// # Errors
    /// The signal is refused, or the process outlives `limit`.
    pub(crate) fn kill(&self, limit: Duration) -> io::Result<()> {
        let Some(pidfd) = self.open()? else {
            return Ok(());
        };
        match pidfd_send_signal(&pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        if wait_end(&pidfd, limit)? {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("process {} did not end after SIGKILL", self.pid),
            ))
        }
    }
}

/// Waits for a pidfd's process to end; false if it outlives `limit`.
///
/// # Errors
/// poll(2) fails.
pub(crate) fn wait_end(pidfd: &OwnedFd, limit: Duration) -> io::Result<bool> {
    Ok(wait_end_or(pidfd, None, limit)? == Waited::Ended)
}

/// How a wait came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The process has ended.
    Ended,
    /// It hasn't, and a signal came.
    Interrupted,
    /// It hasn't, and time is up.
    TimedOut,
}

/// As [`wait_end`], and no longer once `signals`, where given, is readable.
///
/// # Errors
/// poll(2) fails.
pub(crate) fn wait_end_or(
    pidfd: &OwnedFd,
    signals: Option<BorrowedFd<'_>>,
    limit: Duration,
) -> io::Result<Waited> {
    let limit = Timespec::try_from(limit).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
    fds.extend(signals.map(|signals| PollFd::from_borrowed_fd(signals, PollFlags::IN)));
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit)))?;
    let came = fds.iter().position(|fd| !fd.revents().is_empty());
    Ok(match came {
        Some(0) => Waited::Ended,
        Some(_) => Waited::Interrupted,
        None => Waited::TimedOut,
    })
}

/// The start time of a living process; `None` if it is gone or a zombie.
fn start_time(pid: i32) -> io::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(parse_start_time(&stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // The process ended between open and read.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The program's name, in parentheses, may hold spaces and parentheses: count
/// from the last one.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // After the name come field 3, the state, and later field 22.
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(22 - 4)?.parse().ok()
}

pub(crate) fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b)) S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 424242 0 0";
        assert_eq!(parse_start_time(stat), Some(424_242));
        assert_eq!(parse_start_time(&stat.replace(" S ", " Z ")), None);
        assert_eq!(parse_start_time("nonsense"), None);
    }

    #[test]
    fn a_recycled_pid_is_another_process() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let name = ProcessName::of(child.id()).unwrap();
        let older = ProcessName {
            start_time: name.start_time - 1,
            ..name.clone()
        };
        let other_boot = ProcessName {
            boot_id: "another".to_owned(),
            ..name.clone()
        };
        assert!(name.open().unwrap().is_some());
        assert!(older.open().unwrap().is_none());
        assert!(other_boot.open().unwrap().is_none());

        older.kill(Duration::from_secs(5)).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "the wrong one died");
        name.kill(Duration::from_secs(5)).unwrap();
        assert!(name.open().unwrap().is_none(), "a zombie counts as ended");
        assert!(!child.wait().unwrap().success());
        name.kill(Duration::from_secs(5)).unwrap();
    }
}
