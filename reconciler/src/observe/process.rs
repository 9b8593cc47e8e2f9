//! Processes that can't be mistaken for later ones with the same pid.

use std::io;
use std::os::fd::OwnedFd;

use banger_protocol::inventory::Process;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process that was there when this was made.
pub struct Alive(AsyncFd<OwnedFd>);

impl Alive {
    /// Holds on to the process; `None` where it is gone.
    ///
    /// The start time is read after the pidfd was opened: if it matches, the
    /// pidfd is of exactly this process.
    pub fn hold(process: Process) -> io::Result<Option<Self>> {
        let pid = i32::try_from(process.pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if start_time(process.pid)? != Some(process.start_time) {
            return Ok(None);
        }
        // SAFETY: an `OwnedFd` names the same open descriptor for as long as
        // it lives, and nothing takes it out of the `AsyncFd`.
        let registered = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        Ok(Some(Self(registered.map_err(io::Error::from)?)))
    }

    /// Resolves once the process has exited (pidfd_open(2): it polls readable).
    pub async fn exited(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)); `None` where there is no such process.
pub fn start_time(pid: u32) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse_start_time(&stat)
            .map(Some)
            .ok_or_else(|| io::Error::other("/proc/<pid>/stat is not as proc(5) says")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The second field is a name in parentheses that may hold anything.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_ascii_whitespace().nth(19)?.parse().ok()
}
