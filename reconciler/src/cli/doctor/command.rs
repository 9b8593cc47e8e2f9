//! `banger doctor`.

use clap::{Args, ValueEnum};

use super::check::{Counts, json, render};
use super::examine::examine;
use super::{inventory, microvm};
use crate::cli::context::Context;
use crate::cli::output::{print, print_raw};
use crate::cli::{Exit, Failure};

/// `banger doctor`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Doctor {
    /// List what the host holds against what is intended instead
    #[arg(long)]
    inventory: bool,
    /// How it is printed
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// What the microVM check runs itself with, in a process of its own.
    #[arg(long, hide = true)]
    run_microvm: bool,
}

/// How the checks are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// JSON
    Json,
}

impl Doctor {
    /// Exit code 1 where anything fails; warnings are 0.
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.run_microvm {
            return Ok(microvm::child());
        }
        if self.inventory {
            return inventory::run(context, self.output == Some(Format::Json));
        }
        let checks = examine(context);
        match self.output {
            None => print_raw(&render(&checks))?,
            Some(Format::Json) => print(
                json(&checks)
                    .map_err(|error| {
                        Failure::new(Exit::Internal, "the checks can't be written as JSON")
                            .because(&error)
                    })?
                    .trim_end(),
            )?,
        }
        Ok(if Counts::of(&checks).well() {
            Exit::Ok
        } else {
            Exit::Differs
        })
    }
}
