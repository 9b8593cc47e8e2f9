//! The changes.

use super::locate::{EditError, locate, unmarked};
use crate::api::{Kind, Name};
use crate::parse::{Piece, declared, split};

/// What is left of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// This text.
    Text(String),
    /// No document: the file can go.
    Empty,
}

/// Puts a document in the place of the one that declares the object.
///
/// The old document's bytes go from its first line that isn't a comment to its
/// last; comments around it stay, and those of the new document are added
/// unless they stand there already.
///
/// # Errors
/// `NotFound`, `Ambiguous`; `NotOne` and `Other` where `new_document` isn't a
/// document of this object.
pub fn replace(
    text: &str,
    kind: Kind,
    name: &Name,
    new_document: &str,
) -> Result<String, EditError> {
    let (mark, text) = unmarked(text);
    let piece = locate(text, kind, name)?;
    let new = New::read(new_document, Some((kind, name)))?;
    let old = &text[piece.content.clone()];
    let lead = &text[piece.whole.start..piece.content.start];
    let mut body = String::new();
    if piece.content.start == piece.whole.start && is_separated(old) {
        body.push_str("---\n");
    }
    for comment in new.comments.iter().filter(|new| !has_line(lead, new)) {
        body.push_str(comment);
        body.push('\n');
    }
    body.push_str(new.content);
    if (old.ends_with('\n') || piece.content.end < text.len()) && !body.ends_with('\n') {
        body.push('\n');
    }
    let body = with_line_ends_of(old, &body);
    Ok([
        mark,
        &text[..piece.content.start],
        &body,
        &text[piece.content.end..],
    ]
    .concat())
}

/// Takes a document out, with its `---` and the comments between that and the
/// document; comments at the file's head and after the document stay.
///
/// # Errors
/// `NotFound`, `Ambiguous`.
pub fn remove(text: &str, kind: Kind, name: &Name) -> Result<Removal, EditError> {
    let (mark, text) = unmarked(text);
    let piece = locate(text, kind, name)?;
    if split(text).len() == 1 {
        return Ok(Removal::Empty);
    }
    let from = if is_separated(&text[piece.whole.start..]) {
        piece.whole.start
    } else {
        piece.content.start
    };
    let head = &text[..from];
    Ok(Removal::Text(
        [mark, head, &text[piece.content.end..]].concat(),
    ))
}

/// Adds a document at the end.
///
/// # Errors
/// `NotOne`.
pub fn append(text: &str, new_document: &str) -> Result<String, EditError> {
    let new = New::read(new_document, None)?;
    let mut body = String::new();
    let (_, unmarked) = unmarked(text);
    if !unmarked.is_empty() && !unmarked.ends_with('\n') {
        body.push('\n');
    }
    if !split(unmarked).is_empty() {
        body.push_str("---\n");
    }
    for comment in new.comments.iter().filter(|new| !has_line(unmarked, new)) {
        body.push_str(comment);
        body.push('\n');
    }
    body.push_str(new.content);
    if !body.ends_with('\n') {
        body.push('\n');
    }
    Ok([text, &with_line_ends_of(text, &body)].concat())
}

/// A document that is to be written.
struct New<'a> {
    /// Comment lines before it.
    comments: Vec<&'a str>,
    /// Its lines, without a `---`.
    content: &'a str,
}

impl<'a> New<'a> {
    fn read(text: &'a str, object: Option<(Kind, &Name)>) -> Result<Self, EditError> {
        let (_, text) = unmarked(text);
        let pieces = split(text);
        let [Piece { whole, content, .. }] = pieces.as_slice() else {
            return Err(EditError::NotOne {
                documents: pieces.len(),
            });
        };
        if let Some((kind, name)) = object
            && declared(&text[whole.clone()]) != Some((kind, name.clone()))
        {
            return Err(EditError::Other {
                kind,
                name: name.clone(),
            });
        }
        let lead = &text[whole.start..content.start];
        let content = &text[content.clone()];
        Ok(Self {
            comments: lead
                .lines()
                .map(str::trim_end)
                .filter(|line| line.trim_start().starts_with('#'))
                .collect(),
            content: match content.strip_prefix("---") {
                Some(rest) if is_separated(content) => rest.trim_start_matches([' ', '\t']),
                _ => content,
            },
        })
    }
}

fn has_line(text: &str, wanted: &str) -> bool {
    text.lines().any(|line| line.trim_end() == wanted)
}

fn is_separated(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// The text with `\r\n` where the model has it, and `\n` otherwise.
fn with_line_ends_of(model: &str, text: &str) -> String {
    let plain = text.replace("\r\n", "\n");
    if model.contains("\r\n") {
        plain.replace('\n', "\r\n")
    } else {
        plain
    }
}
