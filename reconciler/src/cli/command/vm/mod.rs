//! `banger vm …`: what one does with VMs beside their documents.

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::{Exit, Failure};

mod delete;
mod list;
mod power;
mod show;
mod ssh;

/// `banger vm …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Vm {
    /// List VMs, as `get vms` does
    List(list::List),
    /// Show all that is known of a VM, as `describe vm` does
    Show(show::Show),
    /// Log in to a VM, or run a command in it
    Ssh(ssh::Ssh),
    /// Start VMs that are off
    Start(power::Switch),
    /// Shut VMs down; they stay off until `vm start`
    Stop(power::Switch),
    /// Shut VMs down and start them with their specs as they are now
    Restart(power::Switch),
    /// Delete VMs and the documents that declare them
    Delete(delete::Delete),
}

impl Vm {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        use crate::wire::request::Power;
        match self {
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Ssh(command) => command.run(context),
            Self::Start(command) => command.run(context, Power::Start),
            Self::Stop(command) => command.run(context, Power::Stop),
            Self::Restart(command) => command.run(context, Power::Restart),
            Self::Delete(command) => command.run(context),
        }
    }
}
