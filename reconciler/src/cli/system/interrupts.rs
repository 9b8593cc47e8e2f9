//! Interrupts while something is done as a whole or not at all.
//!
//! ```text
//! hold -> came? between steps -> drop: one that came ends the program now
//! ```
//!
//! Programs that are run meanwhile don't hold them back (std gives each an
//! empty signal mask), so Ctrl-C in a terminal ends those, and their failure
//! is the step's.

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::cli::{Exit, Failure};

/// SIGINT, SIGTERM and SIGHUP, held back from this thread.
#[derive(Debug)]
pub(super) struct Interrupts {
    set: SigSet,
    fd: SignalFd,
    came: Option<Signal>,
}

impl Interrupts {
    pub(super) fn hold() -> Result<Self, Failure> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .collect();
        let failed = |error: nix::Error| {
            Failure::new(Exit::Internal, "signals can't be held back").because(&error)
        };
        set.thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).map_err(failed)?;
        let came = None;
        Ok(Self { set, fd, came })
    }

    /// The first one that came.
    pub(super) fn came(&mut self) -> Option<Signal> {
        if self.came.is_none() {
            let read = self.fd.read_signal().ok().flatten();
            self.came = read
                .and_then(|it| i32::try_from(it.ssi_signo).ok())
                .and_then(|number| Signal::try_from(number).ok());
        }
        self.came
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // Whoever started us is to see that a signal ended us.
        if let Some(signal) = self.came() {
            let _ = kill(Pid::this(), signal);
        }
        let _ = self.set.thread_unblock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_comes_is_held_and_told() {
        let mut interrupts = Interrupts::hold().unwrap();
        assert_eq!(interrupts.came(), None);
        // To this thread alone: the test runner's others don't hold it back.
        nix::sys::signal::raise(Signal::SIGHUP).unwrap();
        assert_eq!(interrupts.came(), Some(Signal::SIGHUP));
        assert_eq!(interrupts.came(), Some(Signal::SIGHUP));
        // It would end the tests.
        interrupts.came = None;
    }
}
