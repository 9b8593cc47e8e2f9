//! `banger trash empty [NAME|UID…]`.

use clap::Args;

use super::list::shown;
use crate::cli::context::Context;
use crate::cli::output::{note, print};
use crate::cli::prompt::confirm;
use crate::cli::size::size;
use crate::cli::{Exit, Failure};
use crate::wire::response::TrashItem;

/// `banger trash empty`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Empty {
    /// Only these VMs' disks, or these entries; everything where nothing is named
    #[arg(value_name = "NAME|UID|ID")]
    chosen: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
}

impl Empty {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let entries = context.daemon.trash()?;
        let chosen = self.choose(&entries)?;
        if chosen.is_empty() {
            note("The trash is empty.");
            return Ok(Exit::Ok);
        }
        let taken: u64 = chosen.iter().map(|entry| entry.taken).sum();
        if !self.yes {
            let names: Vec<String> = chosen.iter().map(|entry| shown(entry)).collect();
            confirm(&format!(
                "{} of disks will be lost for good: {}",
                size(taken),
                names.join(", ")
            ))?;
        }
        let ids = chosen.iter().map(|entry| entry.id.clone()).collect();
        context.daemon.empty_trash(ids)?;
        for entry in chosen {
            print(format_args!("{} removed for good", entry.id))?;
        }
        Ok(Exit::Ok)
    }

    fn choose<'a>(&self, entries: &'a [TrashItem]) -> Result<Vec<&'a TrashItem>, Failure> {
        let is = |entry: &TrashItem, word: &String| {
            entry.id == *word
                || entry.uid.to_string() == *word
                || entry
                    .name
                    .as_ref()
                    .is_some_and(|name| name.as_str() == word)
        };
        for word in &self.chosen {
            if !entries.iter().any(|entry| is(entry, word)) {
                let what = format!("the trash holds nothing of `{word}`");
                return Err(Failure::new(Exit::NotFound, what)
                    .help("`banger trash list` shows what it holds"));
            }
        }
        let chosen = entries.iter().filter(|entry| {
            self.chosen.is_empty() || self.chosen.iter().any(|word| is(entry, word))
        });
        Ok(chosen.collect())
    }
}
