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
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Signals are the process's, and so is what holds them.
static HELD: OnceLock<SignalFd> = OnceLock::new();

/// SIGINT, SIGTERM and SIGHUP, held back from now on.
#[derive(Debug)]
pub struct Interrupts(());

impl Interrupts {
    /// Holds them back in this thread, and in threads that it starts. From then
    /// on every program that this library runs, every boot that it waits for and
    /// every command in a host is ended when one comes, and nothing new begins.
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
        HELD.get_or_init(|| fd);
        Ok(Self(()))
    }

    /// Whether one has come.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn came(&self) -> Result<bool> {
        held().map_or(Ok(false), is_there)
    }
}

/// What is readable once one has come, where somebody holds them.
pub(crate) fn held() -> Option<BorrowedFd<'static>> {
    HELD.get().map(SignalFd::as_fd)
}

/// Whether something is readable now.
pub(crate) fn is_there(signals: BorrowedFd<'_>) -> Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(signals, PollFlags::IN)];
    let now = Timespec::default();
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&now)));
    Ok(ready.context("cannot look for signals")? > 0)
}
