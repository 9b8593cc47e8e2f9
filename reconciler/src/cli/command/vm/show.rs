//! `banger vm show NAME`.

use banger_core::api::Name;
use clap::Args;

use super::super::describe::Describe;
use crate::cli::context::Context;
use crate::cli::{Exit, Failure};

/// `banger vm show NAME`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The VM
    name: Name,
}

impl Show {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        Describe::vm(&self.name).run(context)
    }
}
