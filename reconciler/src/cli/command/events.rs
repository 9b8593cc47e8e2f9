//! `banger events [vm/NAME]`: what happened, oldest first.

use clap::Args;
use jiff::Timestamp;

use crate::cli::age::age;
use crate::cli::context::Context;
use crate::cli::object_ref::ObjectRef;
use crate::cli::output::{note, print_raw};
use crate::cli::{Exit, Failure, table};
use crate::wire::response::Event;

/// `banger events [vm/NAME]`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Events {
    /// Only of this object: `vm/NAME` or `image/NAME`
    object: Option<ObjectRef>,
    /// Go on with new ones
    #[arg(short, long)]
    watch: bool,
}

const HEADINGS: [&str; 5] = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
/// Widths for rows that come one by one.
const WIDTHS: [u16; 5] = [12, 10, 24, 24, 0];

impl Events {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let of = self.object.map(|object| (object.kind, object.name));
        if self.watch {
            let mut headed = true;
            let mut outcome = Ok(());
            context.daemon.events(of, true, |event| {
                let headings = headed.then_some(&HEADINGS[..]);
                headed = false;
                let row = row(&event, Timestamp::now());
                outcome = print_raw(&table::table(headings, &[row], &WIDTHS).0);
                outcome.is_ok()
            })?;
            outcome?;
            return Ok(Exit::Ok);
        }
        let mut rows = Vec::new();
        context.daemon.events(of, false, |event| {
            rows.push(row(&event, Timestamp::now()));
            true
        })?;
        if rows.is_empty() {
            note("No events found.");
        } else {
            print_raw(&table::table(Some(&HEADINGS), &rows, &[]).0)?;
        }
        Ok(Exit::Ok)
    }
}

fn row(event: &Event, now: Timestamp) -> Vec<String> {
    let seen = age(event.time, now);
    vec![
        match event.count {
            0 | 1 => seen,
            count => format!("{seen} (x{count})"),
        },
        format!("{:?}", event.severity),
        event.reason.clone(),
        format!("{}/{}", event.kind.short(), event.name),
        event.message.clone(),
    ]
}
