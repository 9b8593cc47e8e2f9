//! A file as a whole.

use std::path::Path;

use super::place::excerpt;
use super::split::{Piece, split};
use super::{Document, Parsed, Places, explain, limits, manifest, tree};
use crate::api::{Kind, Name};
use crate::problem::Problem;

/// Reads a file's bytes. `path` only names the file in problems.
pub fn parse(path: &Path, bytes: &[u8]) -> Parsed {
    let whole = |message: String, remedy: &str| Parsed {
        documents: Vec::new(),
        problems: vec![Problem {
            file: path.to_owned(),
            at: None,
            object: None,
            field: None,
            message,
            remedy: Some(remedy.to_owned()),
            line: None,
        }],
    };
    if bytes.len() > limits::MAX_FILE_BYTES {
        return whole(
            format!(
                "the file has {} bytes; more than {} (1 MiB) are not read",
                bytes.len(),
                limits::MAX_FILE_BYTES
            ),
            "move what isn't a spec out of this directory, or spread the documents over several files",
        );
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let mut parsed = whole(
                format!(
                    "the file is not UTF-8 text: byte {} is 0x{:02x}",
                    error.valid_up_to() + 1,
                    bytes[error.valid_up_to()]
                ),
                "save it as UTF-8; if it isn't a spec, move it out of this directory",
            );
            parsed.problems[0].at = Some(position_of(bytes, error.valid_up_to()));
            return parsed;
        }
    };
    // A byte order mark is allowed at the beginning and means nothing.
    let (mark, text) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ('\u{feff}'.len_utf8(), rest),
        None => (0, text),
    };
    let pieces = split(text);
    if pieces.is_empty() {
        return whole(
            "the file holds no document".to_owned(),
            "write a document (`banger schema vm` shows the fields), or delete the file if its \
             objects are to go",
        );
    }
    if pieces.len() > limits::MAX_DOCUMENTS {
        return whole(
            format!(
                "the file holds {} documents; more than {} are not read",
                pieces.len(),
                limits::MAX_DOCUMENTS
            ),
            "spread the documents over several files",
        );
    }
    let mut parsed = Parsed::default();
    for piece in &pieces {
        match document(path, text, piece, mark) {
            Ok(document) => parsed.documents.push(document),
            Err(problems) => parsed.problems.extend(problems),
        }
    }
    parsed.problems.truncate(limits::MAX_PROBLEMS);
    parsed
}

fn document(path: &Path, text: &str, piece: &Piece, mark: usize) -> Result<Document, Vec<Problem>> {
    let source = &text[piece.whole.clone()];
    let problem =
        |at: Option<(u32, u32)>, object: Option<(Kind, Name)>, field, words: (String, String)| {
            let at = at.unwrap_or((piece.content_line, 1));
            Problem {
                file: path.to_owned(),
                at: Some(at),
                object,
                field,
                message: words.0,
                remedy: Some(words.1).filter(|remedy| !remedy.is_empty()),
                line: excerpt(source, at.0.saturating_sub(piece.first_line)),
            }
        };
    let mut root = tree::read(source).map_err(|error| {
        let conflict = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
        let (at, words) = match source.lines().zip(1_u32..).find(|(line, _)| conflict(line)) {
            Some((_, line)) => (Some((line, 1)), explain::merge_conflict()),
            None => explain::yaml(&error),
        };
        let at = at.map(|(line, column)| (line + piece.first_line - 1, column));
        vec![problem(at, guess(source), None, words)]
    })?;
    root.shift(piece.first_line - 1);
    let manifest = manifest::read(&root, source).map_err(|findings| {
        let object = manifest::object(&root);
        findings
            .into_iter()
            .map(|finding| {
                problem(
                    Some(finding.at),
                    object.clone(),
                    finding.field,
                    finding.words,
                )
            })
            .collect::<Vec<_>>()
    })?;
    Ok(Document {
        manifest,
        span: piece.content.start + mark..piece.content.end + mark,
        line: piece.content_line,
        places: Places::new(&root, source, piece.first_line),
    })
}

/// Which object a piece of a file declares, whether or not it is right otherwise.
pub(crate) fn declared(source: &str) -> Option<(Kind, Name)> {
    match tree::read(source) {
        Ok(root) => manifest::object(&root),
        Err(_) => guess(source),
    }
}

/// Which object a document is about that isn't valid YAML: its lines `kind: …`
/// at the left edge and `name: …` below `metadata:`.
fn guess(source: &str) -> Option<(Kind, Name)> {
    let mut kind = None;
    let mut name: Option<Name> = None;
    let mut inside = false;
    for line in source.lines() {
        let word = |rest: &str| {
            let rest = rest.split(" #").next().unwrap_or(rest).trim();
            rest.trim_matches(['"', '\'']).to_owned()
        };
        if let Some(rest) = line.strip_prefix("kind:") {
            kind = kind.or_else(|| manifest::parse_kind(&word(rest)));
        }
        if let Some(rest) = line.strip_prefix("metadata:") {
            inside = true;
            if let Some((_, rest)) = rest.split_once("name:") {
                let end = rest.find([',', '}']).unwrap_or(rest.len());
                name = name.or_else(|| word(&rest[..end]).parse().ok());
            }
        } else if !line.starts_with([' ', '\t']) && !line.trim().is_empty() {
            inside = false;
        } else if let (true, Some(rest)) = (inside, line.trim_start().strip_prefix("name:")) {
            name = name.or_else(|| word(rest).parse().ok());
        }
    }
    Some((kind?, name?))
}

/// Line and column of a byte in text that isn't UTF-8.
fn position_of(bytes: &[u8], offset: usize) -> (u32, u32) {
    let before = &bytes[..offset];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(line), number(column))
}
