//! Where a document's fields are.

use std::collections::BTreeMap;
use std::path::Path;

use super::tree::{Node, Value};
use crate::api::{Kind, Name};
use crate::problem::Problem;

/// The longest source line that a [`Problem`] carries, characters.
const MAX_LINE: usize = 200;

/// Line and column of every field of a document, and its source lines.
///
/// Fields are named as in `spec.network.ports[0].host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    by_field: BTreeMap<String, (u32, u32)>,
    /// The document's text, from line `first_line` of the file.
    text: String,
    first_line: u32,
}

impl Places {
    pub(super) fn new(root: &Node, text: &str, first_line: u32) -> Self {
        let mut by_field = BTreeMap::new();
        walk(root, &mut String::new(), &mut by_field);
        Self {
            by_field,
            text: text.to_owned(),
            first_line,
        }
    }

    /// Where the field is; where it isn't written, the nearest field around it.
    pub fn of(&self, field: &str) -> Option<(u32, u32)> {
        let mut field = field;
        loop {
            if let Some(at) = self.by_field.get(field) {
                return Some(*at);
            }
            field = &field[..field.rfind(['.', '['])?];
        }
    }

    /// The source line of this number in the file.
    pub fn line(&self, line: u32) -> Option<String> {
        excerpt(&self.text, line.checked_sub(self.first_line)?)
    }

    /// A problem with a field of this document.
    pub fn problem(
        &self,
        file: &Path,
        object: Option<(Kind, Name)>,
        field: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        let at = self.of(field);
        Problem {
            file: file.to_owned(),
            at,
            object,
            field: Some(field.to_owned()),
            message: message.into(),
            remedy: Some(remedy.into()),
            line: at.and_then(|(line, _)| self.line(line)),
        }
    }
}

/// Line `index` (from 0) of the text, without its newline and cut to what a problem carries.
pub(super) fn excerpt(text: &str, index: u32) -> Option<String> {
    let line = text.split('\n').nth(usize::try_from(index).ok()?)?;
    Some(line.trim_end().chars().take(MAX_LINE).collect())
}

fn walk(node: &Node, field: &mut String, into: &mut BTreeMap<String, (u32, u32)>) {
    let length = field.len();
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                if !field.is_empty() {
                    field.push('.');
                }
                field.push_str(&entry.key);
                let at = match entry.value.value {
                    Value::Map(_) | Value::List(_) | Value::Null => entry.at,
                    _ => entry.value.at,
                };
                into.insert(field.clone(), at);
                walk(&entry.value, field, into);
                field.truncate(length);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                field.push_str(&format!("[{index}]"));
                into.insert(field.clone(), item.at);
                walk(item, field, into);
                field.truncate(length);
            }
        }
        _ => {}
    }
}
