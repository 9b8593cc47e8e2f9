//! A problem for a terminal, without colour.
//!
//! ```text
//! web.yaml:6:3: `spec` has no field `memroy`
//!   6 |   memroy: 512Mi
//!     |   ^
//! help: did you mean `memory`? …
//! ```

use std::fmt::Write as _;

use crate::problem::Problem;

/// The problem, ending in a newline. Nothing in it can move a terminal's cursor
/// or change its state, whatever the file holds.
pub fn render(problem: &Problem) -> String {
    let mut out = plain(&problem.file.display().to_string());
    if let Some((line, column)) = problem.at {
        let _ = write!(out, ":{line}:{column}");
    }
    let _ = writeln!(out, ": {}", plain(&problem.message));
    if let (Some((line, column)), Some(source)) = (problem.at, &problem.line) {
        let margin = line.to_string();
        let _ = writeln!(out, "  {margin} | {}", plain(source).trim_end());
        if let Some(caret) = caret(source, column) {
            let blank = " ".repeat(margin.len());
            let _ = writeln!(out, "  {blank} | {caret}");
        }
    }
    if let Some(remedy) = &problem.remedy {
        let _ = writeln!(out, "help: {}", plain(remedy));
    }
    out
}

/// One line that shows as it is: control characters and those that reorder or
/// hide text are written as escapes, a tab as a blank.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if is_hidden(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, and Unicode's marks of direction and zero width.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A caret below the column, or nothing where the line was cut before it.
fn caret(source: &str, column: u32) -> Option<String> {
    let before = usize::try_from(column).ok()?.checked_sub(1)?;
    if before > source.chars().count() {
        return None;
    }
    let shown: String = source.chars().take(before).collect();
    Some(format!("{}^", " ".repeat(plain(&shown).chars().count())))
}
