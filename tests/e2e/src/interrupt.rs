//! Interrupts as a file descriptor (signalfd(2)), so that waiting for a boot
//! or for a program and waiting for Ctrl-C are one wait.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    sync::OnceLock,
};

use anyhow::{Context as _, Result};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

/// Signals are the process's, and so is what holds them.
static HELD: OnceLock<SignalFd> = OnceLock::new();

/// SIGINT, SIGTERM and SIGHUP, held back from now on.
#[derive(Debug)]
pub struct Interrupts(BorrowedFd<'static>);

impl Interrupts {
    /// Holds them back in this thread, and in threads that it starts. From then
    /// on every program that this library runs is ended when one comes.
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
        Ok(Self(HELD.get_or_init(|| fd).as_fd()))
    }

    /// Readable once one has come.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'static> {
        self.0
    }
}

/// What [`Interrupts::fd`] gives, where somebody holds them.
pub(crate) fn held() -> Option<BorrowedFd<'static>> {
    HELD.get().map(SignalFd::as_fd)
}
