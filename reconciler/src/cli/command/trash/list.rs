//! `banger trash list`.

use banger_core::api::API_VERSION;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::super::get::Format;
use crate::cli::age::age;
use crate::cli::context::Context;
use crate::cli::escape::escape_line;
use crate::cli::output::{note, print, print_raw};
use crate::cli::size::size;
use crate::cli::{Exit, Failure, table};
use crate::wire::response::TrashItem;

/// `banger trash list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// How it is printed; `name` prints the entries' ids
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

impl List {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let entries = context.daemon.trash()?;
        let unwritten = |error: &(dyn std::error::Error + 'static)| {
            Failure::new(Exit::Internal, "the entries can't be written").because(error)
        };
        match self.output {
            None | Some(Format::Wide) if entries.is_empty() => note("The trash is empty."),
            None => rows(&entries, false)?,
            Some(Format::Wide) => rows(&entries, true)?,
            Some(Format::Name) => entries.iter().try_for_each(|entry| print(&entry.id))?,
            Some(Format::Yaml) => {
                let text = serde_yaml::to_string(&Written::of(&entries));
                print_raw(&text.map_err(|error| unwritten(&error))?)?;
            }
            Some(Format::Json) => {
                let text = serde_json::to_string_pretty(&Written::of(&entries));
                print(text.map_err(|error| unwritten(&error))?)?;
            }
        }
        Ok(Exit::Ok)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [TrashItem],
}

impl<'a> Written<'a> {
    const fn of(items: &'a [TrashItem]) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "TrashList",
            items,
        }
    }
}

fn rows(entries: &[TrashItem], wide: bool) -> Result<(), Failure> {
    let now = Timestamp::now();
    let mut headings = vec!["NAME", "UID", "DISKS", "SIZE", "TRASHED", "EXPIRES"];
    if wide {
        headings.extend(["WHAT", "ID"]);
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let disks: Vec<&str> = entry.disks.iter().map(|disk| disk.as_str()).collect();
            let mut cells = vec![
                shown(entry),
                entry.uid.to_string(),
                disks.join(","),
                size(entry.taken),
                format!("{} ago", age(entry.trashed, now)),
                format!("in {}", span(entry.expires_in_seconds)),
            ];
            if wide {
                let what = match (&entry.unread, entry.disk) {
                    (Some(_), _) => "(unknown)",
                    (None, Some(_)) => "a replaced disk",
                    (None, None) => "the whole VM",
                };
                cells.extend([what.to_owned(), entry.id.clone()]);
            }
            cells
        })
        .collect();
    let (text, _) = table::table(Some(&headings), &rows, &[]);
    print_raw(&text)?;
    for entry in entries {
        if let Some(why) = &entry.unread {
            note(format_args!(
                "{}: nothing is known of it but its disks: {}",
                entry.id,
                escape_line(why)
            ));
        }
    }
    Ok(())
}

/// The VM's name, or what there is in its place.
pub(super) fn shown(entry: &TrashItem) -> String {
    let name = entry.name.as_ref();
    name.map_or_else(|| "(unknown)".to_owned(), ToString::to_string)
}

/// A length of time of the daemon's running.
fn span(seconds: u64) -> String {
    let now = Timestamp::UNIX_EPOCH;
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let then = now.checked_sub(SignedDuration::from_secs(seconds));
    age(then.unwrap_or(Timestamp::MIN), now)
}
