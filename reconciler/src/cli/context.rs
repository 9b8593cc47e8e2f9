//! What every command is given.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::Failure;
use super::places::Places;
use crate::client::Daemon;

/// What every command is given.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// The daemon; nothing is connected before it is asked something.
    pub(super) daemon: Daemon,
    /// `-v`.
    pub(super) verbose: bool,
    /// Whether progress may be drawn.
    pub(super) terminal: bool,
}

impl Context {
    /// For a daemon at this socket.
    pub(super) fn new(socket: PathBuf, verbose: bool) -> Self {
        Self {
            daemon: Daemon::at(socket).when_silent(|| {
                eprintln!(
                    "banger: bangerd doesn't answer yet, waiting for it; \
                     `journalctl -u bangerd` says what keeps it"
                );
            }),
            verbose,
            terminal: std::io::stderr().is_terminal()
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// The person's own directories.
    ///
    /// # Errors
    /// Where they can't be told.
    pub(super) fn places(&self) -> Result<Places, Failure> {
        Places::from_env()
    }
}
