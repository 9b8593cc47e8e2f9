//! What would happen, as a person reads it.

use std::fmt::Write as _;
use std::path::PathBuf;

use banger_core::api::Kind;
use banger_core::diff::{Change, DiffEntry};
use banger_core::effect::Effect;
use similar::TextDiff;

use super::escape::{escape, escape_line};
use super::quote::quote;
use super::style::{BAD, BOLD, DIM, GOOD, WARN};

/// The words for an effect.
pub(super) const fn effect_words(effect: Effect) -> &'static str {
    match effect {
        Effect::Live => "live",
        Effect::Restart => "restart",
        Effect::ReplaceRoot => "replaces the root disk",
        Effect::LosesData => "LOSES DATA",
    }
}

const fn effect_style(effect: Effect) -> anstyle::Style {
    match effect {
        Effect::Live => GOOD,
        Effect::Restart => WARN,
        Effect::ReplaceRoot | Effect::LosesData => BAD,
    }
}

/// The entries, one after another, with a unified diff of the specs where
/// `verbose`. `given` is what `-f` named, where it was given: what there is to
/// say goes for that, not for the files that stand in the directory.
pub(super) fn render(entries: &[&DiffEntry], given: &[PathBuf], verbose: bool) -> String {
    entries
        .iter()
        .map(|entry| render_one(entry, given, verbose))
        .collect()
}

/// The command that lets the rest be done.
pub(super) fn apply_with(flags: &str, given: &[PathBuf], file: Option<&PathBuf>) -> String {
    let files = match given {
        [] => file.map(std::slice::from_ref).unwrap_or_default(),
        given => given,
    };
    let files: String = files
        .iter()
        .map(|file| format!(" -f {}", escape_line(&quote(&file.to_string_lossy()))))
        .collect();
    format!("banger apply{files} {}", escape_line(flags))
}

fn render_one(entry: &DiffEntry, given: &[PathBuf], verbose: bool) -> String {
    let mut text = String::new();
    let (sign, style, word) = match entry.change {
        Change::Create => ("+", GOOD, "create"),
        Change::Modify => ("~", WARN, "modify"),
        Change::Delete => ("-", BAD, "delete"),
        Change::Repair => ("!", WARN, "repair"),
    };
    let object = format!("{}/{}", entry.kind.short(), entry.name);
    let grave = effect_style(entry.effect);
    let effect = match entry.change {
        Change::Create | Change::Repair => String::new(),
        Change::Modify => format!("  ({grave}{}{grave:#})", effect_words(entry.effect)),
        Change::Delete if entry.effect == Effect::LosesData => {
            format!("  ({BAD}{}{BAD:#})", effect_words(entry.effect))
        }
        Change::Delete if entry.kind == Kind::VirtualMachine => {
            "  (its disks go to the trash)".to_owned()
        }
        Change::Delete => String::new(),
    };
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "{style}{sign} {word}{style:#} {BOLD}{object}{BOLD:#}{effect}"
    );
    let width = |of: fn(&(String, String, String, Effect)) -> &String, rows: &[_]| {
        rows.iter()
            .map(|row| of(row).chars().count())
            .max()
            .unwrap_or(0)
    };
    let shown = |value: &str| match value {
        "" => "(none)".to_owned(),
        value => escape_line(value),
    };
    let rows: Vec<_> = entry
        .fields
        .iter()
        .map(|it| {
            (
                escape_line(&it.field),
                shown(&it.from),
                shown(&it.to),
                it.effect,
            )
        })
        .collect();
    let (fields, froms, tos) = (
        width(|row| &row.0, &rows),
        width(|row| &row.1, &rows),
        width(|row| &row.2, &rows),
    );
    for (field, from, to, effect) in &rows {
        let style = effect_style(*effect);
        let words = effect_words(*effect);
        let _ = writeln!(
            text,
            "    {field:fields$}  {from:froms$} -> {to:tos$}  {style}{words}{style:#}"
        );
    }
    for action in &entry.actions {
        let _ = writeln!(text, "    {DIM}{}{DIM:#}", escape_line(action));
    }
    if let Some(waits_for) = &entry.waits_for {
        let command = apply_with(waits_for, given, entry.file.as_ref());
        let _ = writeln!(text, "    {WARN}waits for:{WARN:#} {command}");
    }
    if verbose {
        unified(&mut text, entry, &object);
    }
    text
}

fn unified(text: &mut String, entry: &DiffEntry, object: &str) {
    let (before, after) = (escape(&entry.before), escape(&entry.after));
    let diff = TextDiff::from_lines(&before, &after);
    let unified = diff
        .unified_diff()
        .header(
            &format!("{object} (applied)"),
            &format!("{object} (desired)"),
        )
        .to_string();
    for line in unified.lines() {
        let style = match line.as_bytes().first() {
            Some(b'+') => GOOD,
            Some(b'-') => BAD,
            _ => DIM,
        };
        let _ = writeln!(text, "    {style}{line}{style:#}");
    }
}

/// Whether an entry is about this object.
pub(super) fn is_about(entry: &DiffEntry, object: &super::object_ref::ObjectRef) -> bool {
    entry.kind == object.kind && entry.name == object.name
}
