//! Commands that need root: plain where we are root, through `sudo` elsewhere.

use std::{ffi::OsStr, process::Command};

/// A command that will run as root.
#[must_use]
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if rustix::process::geteuid().is_root() {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.arg("--").arg(program);
        command
    }
}
