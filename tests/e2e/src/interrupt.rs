//! Interrupts as a file descriptor (signalfd(2)), so that waiting for a boot
//! and waiting for Ctrl-C are one wait.

use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

/// SIGINT, SIGTERM and SIGHUP, held back from now on.
#[derive(Debug)]
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Holds them back in this thread, and in threads that it starts.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn hold() -> Result<Self> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .collect();
        set.thread_block().context("cannot hold signals back")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).context("cannot watch signals")?;
        Ok(Self(fd))
    }

    /// Readable once one has come.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
