//! `banger trash …`: the disks of VMs that went, and of replacements.

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::{Exit, Failure};

mod empty;
mod list;

/// `banger trash …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Trash {
    /// List what lies in the trash
    List(list::List),
    /// Remove disks from the trash for good
    Empty(empty::Empty),
}

impl Trash {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::List(command) => command.run(context),
            Self::Empty(command) => command.run(context),
        }
    }
}
