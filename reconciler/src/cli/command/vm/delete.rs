//! `banger vm delete NAME…`.

use banger_core::api::Name;
use clap::Args;

use super::super::delete;
use crate::cli::context::Context;
use crate::cli::{Exit, Failure};

/// `banger vm delete NAME…`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Delete {
    /// The VMs
    #[arg(required = true)]
    names: Vec<Name>,
    #[command(flatten)]
    how: delete::How,
}

impl Delete {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        delete::Delete::vms(&self.names, self.how).run(context)
    }
}
