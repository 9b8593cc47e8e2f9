//! `banger doctor --inventory`: intent, scratch files and kernel objects against
//! one another.

use std::fmt::Write as _;

use banger_core::inventory::{InventoryReport, Item, State};

use crate::cli::context::Context;
use crate::cli::escape::escape_line;
use crate::cli::output::print_raw;
use crate::cli::style::{BAD, DIM, GOOD, WARN};
use crate::cli::{Exit, Failure};

/// Exit code 1 unless nothing is unowned, missing or unknown.
pub(super) fn run(context: &Context, json: bool) -> Result<Exit, Failure> {
    let report = context.daemon.inventory()?;
    if json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| {
            Failure::new(Exit::Internal, "the list can't be written as JSON").because(&error)
        })?;
        print_raw(&(text + "\n"))?;
    } else {
        print_raw(&render(&report))?;
    }
    Ok(if report.is_exact() {
        Exit::Ok
    } else {
        Exit::Differs
    })
}

/// What needs a look, each with its remedy; then the counts. What is as it
/// should be is only counted.
fn render(report: &InventoryReport) -> String {
    let mut text = String::new();
    for item in &report.items {
        line(&mut text, item);
    }
    for why in &report.unknown {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{BAD}unknown{BAD:#}  {}", escape_line(why));
    }
    if let Some(adoption) = &report.adoption {
        let _ = writeln!(text, "{adoption} when the daemon started");
    }
    let count = |state| report.count(state);
    let _ = write!(
        text,
        "{} owned, {} unowned, {} missing",
        count(State::Owned) + count(State::Changing),
        count(State::Unowned),
        count(State::Missing),
    );
    if count(State::Stale) > 0 {
        let _ = write!(text, ", {} stale", count(State::Stale));
    }
    if count(State::Unneeded) > 0 {
        let _ = write!(text, ", {} unneeded", count(State::Unneeded));
    }
    if count(State::Foreign) > 0 {
        let _ = write!(text, "; {} foreign, left alone", count(State::Foreign));
    }
    text.push('\n');
    text
}

fn line(text: &mut String, item: &Item) {
    let (style, word) = match item.state {
        State::Owned => return,
        State::Missing => (BAD, "missing"),
        State::Unowned => (WARN, "unowned"),
        State::Stale => (DIM, "stale"),
        State::Unneeded => (DIM, "unneeded"),
        State::Foreign => (DIM, "foreign"),
        State::Changing => (GOOD, "changing"),
    };
    let of = match &item.vm {
        Some(vm) => format!(" of vm/{vm}"),
        None => String::new(),
    };
    let line = format!("{} {}{of}: {}", item.object, item.name, item.why);
    let _ = writeln!(text, "{style}{word:8}{style:#} {}", escape_line(&line));
    if let Some(remedy) = &item.remedy {
        let _ = writeln!(text, "         `{}`", escape_line(remedy));
    }
}

#[cfg(test)]
mod tests {
    use banger_core::inventory::{InventoryReport, Item, Object, State};

    use super::render;

    fn item(state: State, object: Object, name: &str) -> Item {
        Item {
            state,
            object,
            name: name.into(),
            uid: None,
            vm: None,
            why: "so".into(),
            remedy: None,
        }
    }

    #[test]
    fn what_needs_a_look_is_named_and_the_rest_counted() {
        let mut unowned = item(State::Unowned, Object::Tap, "bgr9");
        unowned.remedy = Some("banger gc".into());
        let report = InventoryReport {
            items: vec![
                unowned,
                item(State::Unneeded, Object::Image, "/state/images/ab"),
                item(State::Foreign, Object::Dm, "banger-x"),
                item(State::Owned, Object::Loop, "/dev/loop1"),
            ],
            unknown: vec![],
            adoption: Some(Default::default()),
            ..InventoryReport::default()
        };
        let text = anstream::adapter::strip_str(&render(&report)).to_string();
        assert_eq!(
            text,
            "unowned  tap bgr9: so\n\
             \x20        `banger gc`\n\
             unneeded image /state/images/ab: so\n\
             foreign  dm device banger-x: so\n\
             adopted 0/0 running VMs when the daemon started\n\
             1 owned, 1 unowned, 0 missing, 1 unneeded; 1 foreign, left alone\n"
        );
        assert!(!report.is_exact());
    }
}
