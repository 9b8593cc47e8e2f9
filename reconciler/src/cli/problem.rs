//! Problems of documents, with the line that they are in.

use std::fmt::Write as _;

use banger_core::problem::Problem;

use super::escape::{escape, escape_line};
use super::style::{BAD, BOLD, DIM};

/// One problem as a person reads it, ending in a newline.
pub(super) fn render(problem: &Problem) -> String {
    let mut text = String::new();
    let place = match problem.at {
        Some((line, column)) => format!("{}:{line}:{column}", problem.file.display()),
        None => problem.file.display().to_string(),
    };
    let place = escape_line(&place);
    let field = match &problem.field {
        Some(field) => format!("{}: ", escape_line(field)),
        None => String::new(),
    };
    let message = escape(problem.message.trim_end()).replace('\n', "\n  ");
    // Writing to a String can't fail.
    let _ = writeln!(text, "{BOLD}{place}{BOLD:#}: {BAD}{field}{message}{BAD:#}");
    if let (Some((line, column)), Some(source)) = (problem.at, &problem.line) {
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let source = escape_line(source);
        let before = (column as usize)
            .saturating_sub(1)
            .min(source.chars().count());
        let _ = writeln!(text, "  {DIM}{number} |{DIM:#} {source}");
        let _ = writeln!(
            text,
            "  {DIM}{gutter} |{DIM:#} {}{BAD}^{BAD:#}",
            " ".repeat(before)
        );
    }
    if let Some(remedy) = &problem.remedy {
        let remedy = escape(remedy.trim_end()).replace('\n', "\n    ");
        let _ = writeln!(text, "  {BOLD}help:{BOLD:#} {remedy}");
    }
    text
}

/// All of them.
pub(super) fn render_all(problems: &[Problem]) -> String {
    problems.iter().map(render).collect()
}
