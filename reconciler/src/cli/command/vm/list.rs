//! `banger vm list`.

use clap::Args;

use super::super::get::{Format, Get};
use crate::cli::context::Context;
use crate::cli::{Exit, Failure};

/// `banger vm list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// How it is printed
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Go on with what changes
    #[arg(short, long)]
    watch: bool,
}

impl List {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        Get::vms(self.output, self.watch).run(context)
    }
}
