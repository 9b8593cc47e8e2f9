//! Which part of a file declares an object.

use crate::api::{Kind, Name};
use crate::parse::{Piece, declared, split};

/// Why a document can't be replaced or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No document of the file declares the object.
    #[error("no document of the file declares {} `{name}`", kind.short())]
    NotFound {
        /// The kind.
        kind: Kind,
        /// The name.
        name: Name,
    },
    /// Several do.
    #[error("the file declares {} `{name}` several times, at lines {}", kind.short(), joined(.lines))]
    Ambiguous {
        /// The kind.
        kind: Kind,
        /// The name.
        name: Name,
        /// Their first lines, from 1.
        lines: Vec<u32>,
    },
    /// What is to be written isn't one document.
    #[error("exactly one document can take the place of another, not {documents}")]
    NotOne {
        /// How many it is.
        documents: usize,
    },
    /// What is to be written declares something else.
    #[error("the new document doesn't declare {} `{name}`", kind.short())]
    Other {
        /// The kind that it should declare.
        kind: Kind,
        /// The name.
        name: Name,
    },
}

fn joined(lines: &[u32]) -> String {
    let lines: Vec<String> = lines.iter().map(u32::to_string).collect();
    lines.join(", ")
}

/// A byte order mark, and the text after it.
pub(super) fn unmarked(text: &str) -> (&str, &str) {
    let mark = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    text.split_at(mark)
}

/// The document's own text: from its first line that isn't a comment to its last.
///
/// # Errors
/// `NotFound`, `Ambiguous`.
pub fn find<'a>(text: &'a str, kind: Kind, name: &Name) -> Result<&'a str, EditError> {
    let (_, text) = unmarked(text);
    let piece = locate(text, kind, name)?;
    Ok(&text[piece.content])
}

/// The one piece that declares the object. `text` without a byte order mark.
pub(super) fn locate(text: &str, kind: Kind, name: &Name) -> Result<Piece, EditError> {
    let mut found: Vec<Piece> = split(text)
        .into_iter()
        .filter(|piece| {
            declared(&text[piece.whole.clone()]).is_some_and(|(k, n)| k == kind && n == *name)
        })
        .collect();
    match found.len() {
        0 => Err(EditError::NotFound {
            kind,
            name: name.clone(),
        }),
        1 => Ok(found.remove(0)),
        _ => Err(EditError::Ambiguous {
            kind,
            name: name.clone(),
            lines: found.iter().map(|piece| piece.content_line).collect(),
        }),
    }
}
