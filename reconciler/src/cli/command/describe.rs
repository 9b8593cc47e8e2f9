//! `banger describe vm|image NAME`: everything about one object on one page.

use std::fmt::Write as _;

use banger_core::api::status::Object;
use clap::Args;
use jiff::Timestamp;

use crate::cli::age::age;
use crate::cli::context::Context;
use crate::cli::escape::{escape, escape_line};
use crate::cli::object_ref::references;
use crate::cli::output::{note_raw, print, print_raw};
use crate::cli::style::BOLD;
use crate::cli::{Exit, Failure, problem, table};
use crate::wire::response::Event;

/// `banger describe vm|image NAME`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Describe {
    /// `vm NAME…`, `image NAME…`, or `vm/NAME…`
    #[arg(required = true, value_name = "OBJECT")]
    objects: Vec<String>,
}

impl Describe {
    /// `describe vm NAME`.
    pub(super) fn vm(name: &banger_core::api::Name) -> Self {
        Self {
            objects: vec![format!("vm/{name}")],
        }
    }

    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let objects = references(&self.objects).map_err(Failure::invalid)?;
        for (index, reference) in objects.iter().enumerate() {
            let listing = context.daemon.list(reference.kind, Some(&reference.name))?;
            let mut events = Vec::new();
            let of = Some((reference.kind, reference.name.clone()));
            context.daemon.events(of, false, |event| {
                events.push(event);
                true
            })?;
            if index > 0 {
                print("")?;
            }
            for object in &listing.objects {
                print_raw(&page(object, &events, Timestamp::now())?)?;
            }
            note_raw(&problem::render_all(&listing.problems));
        }
        Ok(Exit::Ok)
    }
}

/// The page of one object.
fn page(object: &Object, events: &[Event], now: Timestamp) -> Result<String, Failure> {
    let mut text = String::new();
    // Writing to a String can't fail, here and below.
    let mut row = |label: &str, value: &str| {
        let _ = writeln!(text, "{BOLD}{label:<14}{BOLD:#}{}", escape_line(value));
    };
    let metadata = &object.metadata;
    row("Name:", metadata.name.as_str());
    row("Kind:", object.kind.as_str());
    row("Status:", &format!("{:?}", object.status.phase));
    row("UID:", &metadata.uid.to_string());
    let observed = object.status.observed_generation;
    row(
        "Generation:",
        &format!("{} (observed {observed})", metadata.generation),
    );
    for (label, map) in [
        ("Labels:", &metadata.labels),
        ("Annotations:", &metadata.annotations),
    ] {
        let pairs: Vec<String> = map
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !pairs.is_empty() {
            row(label, &pairs.join(", "));
        }
    }
    let created = metadata.creation_timestamp;
    row("Created:", &moment(created, now));
    if let Some(deleted) = metadata.deletion_timestamp {
        row("Deleted:", &moment(deleted, now));
    }
    match &metadata.source {
        Some(source) => row("File:", &source.display().to_string()),
        None => row("File:", "<none>"),
    }
    if let Some(digest) = &object.status.image_digest {
        row("Image digest:", digest);
    }
    section(&mut text, "Spec", &object.spec)?;
    if let Some(runtime) = &object.status.runtime {
        section(&mut text, "Runtime", runtime)?;
    }
    if let Some(handles) = &object.status.handles {
        section(&mut text, "Handles", handles)?;
    }
    conditions(&mut text, object, now);
    happened(&mut text, events, now);
    Ok(text)
}

/// A time in whole seconds, and how long ago that is.
fn moment(then: Timestamp, now: Timestamp) -> String {
    let time = then.strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("{time} ({} ago)", age(then, now))
}

fn section(text: &mut String, title: &str, content: &impl serde::Serialize) -> Result<(), Failure> {
    let yaml = serde_yaml::to_string(content).map_err(|error| {
        Failure::new(Exit::Internal, "the object can't be written as YAML").because(&error)
    })?;
    let _ = writeln!(text, "{BOLD}{title}:{BOLD:#}");
    for line in escape(&yaml).lines().filter(|line| *line != "{}") {
        let _ = writeln!(text, "  {line}");
    }
    Ok(())
}

fn conditions(text: &mut String, object: &Object, now: Timestamp) {
    let _ = writeln!(text, "{BOLD}Conditions:{BOLD:#}");
    let rows: Vec<Vec<String>> = object
        .status
        .conditions
        .iter()
        .map(|it| {
            vec![
                format!("{:?}", it.kind),
                format!("{:?}", it.status),
                it.reason.clone(),
                age(it.last_transition_time, now),
                it.message.clone(),
            ]
        })
        .collect();
    indented(
        text,
        &["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"],
        &rows,
    );
}

fn happened(text: &mut String, events: &[Event], now: Timestamp) {
    let _ = writeln!(text, "{BOLD}Events:{BOLD:#}");
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|it| {
            vec![
                age(it.time, now),
                format!("{:?}", it.severity),
                it.reason.clone(),
                match it.count {
                    0 | 1 => it.message.clone(),
                    count => format!("{} (x{count})", it.message),
                },
            ]
        })
        .collect();
    indented(text, &["AGE", "TYPE", "REASON", "MESSAGE"], &rows);
}

fn indented(text: &mut String, headings: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        let _ = writeln!(text, "  <none>");
        return;
    }
    for line in table::table(Some(headings), rows, &[]).0.lines() {
        let _ = writeln!(text, "  {line}");
    }
}
