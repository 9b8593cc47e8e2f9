//! `banger system …`: the installation as a service of this host. Root's work.

use clap::Subcommand;

use super::context::Context;
use super::{Exit, Failure};

mod changes;
mod daemons;
mod install;
mod interrupts;
pub(super) mod layout;
pub(super) mod manifest;
mod metadata;
mod owner;
mod place;
mod preflight;
pub(super) mod program;
mod restart;
mod setup;
mod status;
mod sweep;
mod uninstall;
mod units;

/// `banger system …`.
#[derive(Debug, Subcommand)]
pub(super) enum System {
    /// Install banger on this host, or update it; VMs keep running
    Install(install::Install),
    /// Show whether this host is fit and the services are up
    Status(status::Status),
    /// Restart daemon and helper; VMs keep running
    Restart(restart::Restart),
    /// Take banger off this host; disks stay unless `--purge`
    Uninstall(uninstall::Uninstall),
}

impl System {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Install(command) => command.run(),
            Self::Status(command) => command.run(context),
            Self::Restart(command) => command.run(),
            Self::Uninstall(command) => command.run(),
        }
    }
}

/// Says no to everybody but root, with the words that make root of them.
fn require_root(command: &str) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Denied,
        format!("`banger system {command}` is root's to run"),
    )
    .help(format!("`sudo banger system {command}`")))
}
