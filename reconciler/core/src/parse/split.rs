//! Where the documents of a file begin and end.
//!
//! A line that begins with `---` and a blank or its end always separates
//! documents: YAML forbids it inside of every kind of scalar (YAML 1.2.2,
//! 9.1.2, `c-forbidden`). So a file can be split without being understood, and
//! a document that can't be read leaves the others alone.

use std::ops::Range;

/// A part of the file between two separators that holds more than comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// From its `---` (or the file's beginning) up to the next one.
    pub(crate) whole: Range<usize>,
    /// The line of `whole.start`, from 1.
    pub(crate) first_line: u32,
    /// From the first line with content to the end of the last one, without the
    /// `---` line unless there is content on it.
    pub(crate) content: Range<usize>,
    /// The line of `content.start`, from 1.
    pub(crate) content_line: u32,
}

/// The pieces, in order. `text` without a byte order mark.
pub(crate) fn split(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut piece = Open::at(0, 1);
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let end = start + line.len();
        let separator = is_separator(line);
        if separator && start > 0 {
            pieces.extend(piece.close(start));
            piece = Open::at(start, number);
        }
        match classify(line, separator) {
            Line::Content => piece.content(start, end, number),
            // It may be text of a block scalar, which a comment at the left edge would have ended.
            Line::Inner if piece.runs => piece.last = end,
            Line::Outer => piece.runs = false,
            Line::Inner | Line::Blank => {}
        }
        start = end;
    }
    pieces.extend(piece.close(text.len()));
    pieces
}

struct Open {
    start: usize,
    line: u32,
    first: Option<(usize, u32)>,
    last: usize,
    /// Nothing but content, indented comments and blank lines since the first content.
    runs: bool,
}

impl Open {
    const fn at(start: usize, line: u32) -> Self {
        Self {
            start,
            line,
            first: None,
            last: start,
            runs: false,
        }
    }

    const fn content(&mut self, start: usize, end: usize, number: u32) {
        if self.first.is_none() {
            self.first = Some((start, number));
        }
        self.last = end;
        self.runs = true;
    }

    fn close(self, end: usize) -> Option<Piece> {
        let (first, content_line) = self.first?;
        Some(Piece {
            whole: self.start..end,
            first_line: self.line,
            content: first..self.last,
            content_line,
        })
    }
}

enum Line {
    Content,
    /// An indented comment.
    Inner,
    /// A comment at the left edge, a directive, a bare `...`.
    Outer,
    /// Blank, or a bare `---`.
    Blank,
}

fn classify(line: &str, separator: bool) -> Line {
    let rest = if separator { &line[3..] } else { line };
    let rest = rest.trim();
    if rest.is_empty() {
        Line::Blank
    } else if rest.starts_with('#') {
        if line.starts_with([' ', '\t']) {
            Line::Inner
        } else {
            Line::Outer
        }
    } else if line.starts_with('%') || line.trim_end() == "..." {
        Line::Outer
    } else {
        Line::Content
    }
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}
