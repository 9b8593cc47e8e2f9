//! The few colours that there are. `anstream` takes them out again where the
//! output is no terminal or `NO_COLOR` is set.

use anstyle::{AnsiColor, Style};

/// As it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Somebody may have to look.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
/// Wrong, or lost.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What matters in a line.
pub(super) const BOLD: Style = Style::new().bold();
/// What matters less.
pub(super) const DIM: Style = Style::new().dimmed();
