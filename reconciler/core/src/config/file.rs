//! The text of `config.toml` to a [`Config`].

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Config;
use super::check::check;
use crate::parse::{listed, nearest};
use crate::problem::Problem;

/// Reads the configuration. `path` (absolute) names the file in problems and is
/// what relative directories are relative to; `home` is what `~/` stands for.
///
/// # Errors
/// What is wrong: the first thing that can't be read, or everything that is out of bounds.
pub fn parse(path: &Path, text: &str, home: &Path) -> Result<Config, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let config: Config = toml::from_str(text).map_err(|error| {
        let (message, remedy) = explain(error.message());
        vec![problem(path, text, error.span(), None, message, remedy)]
    })?;
    let found = check(&config);
    if found.is_empty() {
        return Ok(config.resolved(path, home));
    }
    let tree = DeTable::parse(text).ok();
    let mut problems: Vec<Problem> = found
        .into_iter()
        .map(|(field, message, remedy)| {
            let span = tree.as_ref().and_then(|tree| find(tree.get_ref(), field));
            problem(path, text, span, Some(field), message, remedy)
        })
        .collect();
    problems.sort_by_key(|problem| problem.at);
    Err(problems)
}

fn find(table: &DeTable<'_>, field: &str) -> Option<Range<usize>> {
    let (name, rest) = match field.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (field, None),
    };
    let (_, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    match (rest, value.get_ref()) {
        (Some(rest), DeValue::Table(inner)) => find(inner, rest),
        (None, _) => Some(value.span()),
        _ => None,
    }
}

fn problem(
    path: &Path,
    text: &str,
    span: Option<Range<usize>>,
    field: Option<&str>,
    message: String,
    remedy: String,
) -> Problem {
    let place = span.and_then(|span| {
        let before = text.get(..span.start.min(text.len()))?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[start..].chars().count() + 1;
        let source = text[start..].lines().next().unwrap_or_default();
        Some((
            (u32::try_from(line).ok()?, u32::try_from(column).ok()?),
            source.chars().take(200).collect::<String>(),
        ))
    });
    Problem {
        file: path.to_owned(),
        at: place.as_ref().map(|(at, _)| *at),
        object: None,
        field: field.map(str::to_owned),
        message,
        remedy: Some(remedy),
        line: place.map(|(_, line)| line),
    }
}

/// serde's words as a person's, and what to write instead.
fn explain(message: &str) -> (String, String) {
    let message = message.lines().next().unwrap_or(message).trim();
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let what = |kind: &str| format!("there is no {kind} `{}` here", words[0]);
    match words.as_slice() {
        [unknown, known @ ..] if message.starts_with("unknown field") => {
            let meant = nearest(unknown, known)
                .map(|near| format!("did you mean `{near}`? "))
                .unwrap_or_default();
            (
                what("field"),
                format!("{meant}write one of {}", listed(known)),
            )
        }
        [_, known @ ..] if message.starts_with("unknown variant") => {
            (what("value"), format!("write one of {}", listed(known)))
        }
        _ if message.starts_with("invalid type") || message.starts_with("invalid value") => (
            message.to_owned(),
            "write text in \"quotes\", numbers and `true` or `false` without".to_owned(),
        ),
        _ => (
            message.to_owned(),
            "a table begins with `[name]`, and each of its lines is `field = value`; text and \
             amounts stand in \"quotes\""
                .to_owned(),
        ),
    }
}
