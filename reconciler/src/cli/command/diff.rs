//! `banger diff [-f …]`: what would happen. Exit code 0: nothing, 1: something, 2: an error.

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::output::{note_raw, print_raw};
use crate::cli::workspace::Workspace;
use crate::cli::{Exit, Failure, documents, problem, report};

/// `banger diff [-f …]`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// As if this file, directory or stdin (`-`) were applied; default: the directories as they are
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,
}

impl Diff {
    pub(in crate::cli) fn run(self, context: &Context) -> Exit {
        self.differs(context).unwrap_or_else(|failure| {
            note_raw(&failure.render());
            Exit::Invalid
        })
    }

    fn differs(&self, context: &Context) -> Result<Exit, Failure> {
        let mut objects = Vec::new();
        let mut overlay = Vec::new();
        if !self.filename.is_empty() {
            let places = context.places()?;
            let inputs = documents::read(&self.filename, &places)?;
            let mut workspace = Workspace::open(places);
            for input in &inputs {
                for document in &input.documents {
                    if !workspace.holds(input) {
                        workspace.put(input, document)?;
                    }
                    objects.push(document.object.clone());
                }
            }
            overlay = workspace.overlay();
        }
        let found = context.daemon.diff(overlay)?;
        let entries: Vec<_> = found
            .entries
            .iter()
            .filter(|entry| {
                objects.is_empty() || objects.iter().any(|it| report::is_about(entry, it))
            })
            .collect();
        print_raw(&report::render(&entries, &self.filename, context.verbose))?;
        if !found.problems.is_empty() {
            note_raw(&problem::render_all(&found.problems));
            return Err(
                Failure::invalid("there are documents that can't be accepted")
                    .help("what they declare stays as it is until they are corrected"),
            );
        }
        Ok(if entries.is_empty() {
            Exit::Ok
        } else {
            Exit::Differs
        })
    }
}
