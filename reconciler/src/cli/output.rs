//! Writing to stdout and stderr without ever panicking over it.

use std::fmt::Display;
use std::io::Write as _;

use super::{Exit, Failure};

/// Results: `text` and a newline on stdout.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    writeln!(anstream::stdout(), "{text}").map_err(|error| failed(&error))
}

/// Results that carry their own newlines.
pub(super) fn print_raw(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| failed(&error))
}

/// Progress, notices, warnings: on stderr. A stderr that can't be written to
/// leaves nobody to tell.
pub(super) fn note(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// As `note`, for text that carries its own newlines.
pub(super) fn note_raw(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Internal, "the output can't be written").because(error)
}
