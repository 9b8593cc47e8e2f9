//! Reading the serial console's file: is the host up, has its kernel died?

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};

/// What the host's last unit writes to the console.
const READY: &str = "BANGER-E2E-READY";

/// A line with one of these means that the host's own kernel has died. The
/// first is what software SVM was seen to do, rarely, under a guest's boot.
const DEATHS: [&str; 6] = [
    "stack guard page was hit",
    "Kernel panic - not syncing",
    "BUG: unable to handle page fault",
    "BUG: kernel NULL pointer dereference",
    "double fault:",
    "BANGER-E2E: the root disk can't be mounted",
];

/// The first console line that tells of the host kernel's death, in a text.
#[must_use]
pub(crate) fn death_in(console: &str) -> Option<&str> {
    console
        .lines()
        .find(|line| DEATHS.iter().any(|death| line.contains(death)))
}

/// The console from byte `offset` on. Not all of it need be text.
///
/// # Errors
/// The file can't be read.
pub(crate) fn read_from(console: &Path, offset: u64) -> io::Result<String> {
    let mut file = fs::File::open(console)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How the wait for a boot ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BootEnd {
    /// systemd has reached its default target.
    Ready,
    /// The kernel died; its line.
    Crashed(String),
    /// QEMU ended.
    Exited,
    /// Time is up.
    TimedOut,
    /// A signal came.
    Interrupted,
}

/// Waits for the console, from `offset` on, to say how the boot went. `process`
/// is QEMU's pidfd; `signals`, where given, becomes readable at an interrupt.
/// Nothing is polled: inotify, pidfd and signalfd wake us.
///
/// # Errors
/// The console can't be watched.
pub(crate) fn wait_boot(
    console: &Path,
    offset: u64,
    process: BorrowedFd<'_>,
    signals: Option<BorrowedFd<'_>>,
    limit: Duration,
) -> io::Result<BootEnd> {
    let deadline = Instant::now() + limit;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, console, inotify::WatchFlags::MODIFY)?;
    loop {
        let text = read_from(console, offset)?;
        if let Some(line) = death_in(&text) {
            return Ok(BootEnd::Crashed(line.to_owned()));
        }
        if text.contains(READY) {
            return Ok(BootEnd::Ready);
        }
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            return Ok(BootEnd::TimedOut);
        };
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = vec![
            PollFd::new(&watch, PollFlags::IN),
            PollFd::from_borrowed_fd(process, PollFlags::IN),
        ];
        if let Some(signals) = signals {
            fds.push(PollFd::from_borrowed_fd(signals, PollFlags::IN));
        }
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&left)))?;
        let fired: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if fired.get(2) == Some(&true) {
            return Ok(BootEnd::Interrupted);
        }
        if fired[1] {
            // Its last words came before its end.
            let text = read_from(console, offset)?;
            let death = death_in(&text).map(str::to_owned);
            return Ok(death.map_or(BootEnd::Exited, BootEnd::Crashed));
        }
        drain(watch.as_fd())?;
    }
}

/// Empties the inotify queue: all that counts is that there was an event.
fn drain(watch: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = [0_u8; 4096];
    loop {
        match rustix::io::read(watch, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn a_panic_is_told_from_noise() {
        let noise = "BUG report address: x\n[ 1.0] kvm: nested\n";
        assert_eq!(death_in(noise), None);
        let panic = "[ 9.1] TASK stack guard page was hit at 00000000 (stack is ..)";
        assert_eq!(death_in(&format!("{noise}{panic}\nmore")), Some(panic));
    }

    /// A boot that writes `then` after `first`, and then ends or goes on.
    fn boot(first: &str, then: &str, ends: bool) -> BootEnd {
        let mut console = tempfile::NamedTempFile::new().unwrap();
        write!(console, "{first}").unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let path = console.path().to_owned();
        let mut stdin = child.stdin.take();
        let then = then.to_owned();
        let writer = std::thread::spawn(move || {
            write!(console, "{then}").unwrap();
            if ends {
                stdin = None;
            }
            (console, stdin)
        });
        let offset = first.len() as u64;
        let limit = Duration::from_secs(20);
        let end = wait_boot(&path, offset, pidfd.as_fd(), None, limit).unwrap();
        drop(writer.join().unwrap());
        child.wait().unwrap();
        end
    }

    #[test]
    fn an_earlier_boots_marker_does_not_count() {
        assert_eq!(boot("BANGER-E2E-READY\n", "nothing", true), BootEnd::Exited);
        assert_eq!(boot("", "x\nBANGER-E2E-READY\n", false), BootEnd::Ready);
    }

    #[test]
    fn the_end_of_qemu_after_a_panic_is_a_crash() {
        let line = "Kernel panic - not syncing: oh";
        assert_eq!(boot("", line, true), BootEnd::Crashed(line.to_owned()));
    }
}
