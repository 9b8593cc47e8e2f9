//! `banger validate [-f …]`: the daemon's own checks of documents, without a daemon.

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::documents;
use crate::cli::output::{note, print};
use crate::cli::{Exit, Failure};
use crate::source;

/// `banger validate [-f …]`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Validate {
    /// A file, a directory, or `-` for stdin; default: the directories in ~/.config/banger
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,
}

impl Validate {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let places = context.places()?;
        let names = if self.filename.is_empty() {
            let held = |path: &PathBuf| source::listed(path).is_ok_and(|files| !files.is_empty());
            places.sources().into_iter().filter(held).collect()
        } else {
            self.filename
        };
        if names.is_empty() {
            note(format_args!("No documents in {}.", places.config.display()));
            return Ok(Exit::Ok);
        }
        for input in documents::read(&names, &places)? {
            for document in &input.documents {
                print(format_args!("{} is valid", document.object))?;
            }
        }
        Ok(Exit::Ok)
    }
}
