//! Text from a guest or a daemon, made harmless for a terminal.

/// Control characters but newline and tab as `\x1b`; the carriage return of a
/// serial console's line end is left out.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => safe.push(character),
            '\r' if matches!(characters.peek(), Some('\n' | '\r')) => {}
            control if control.is_control() => {
                safe.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            // Bidirectional overrides reorder what stands around them
            // (Unicode Technical Report 36, section 2.5).
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                safe.push_str(&format!("\\u{{{:04x}}}", u32::from(character)));
            }
            character => safe.push(character),
        }
    }
    safe
}

/// As [`escape`], on one line: for cells of a table.
pub(super) fn escape_line(text: &str) -> String {
    escape(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::{escape, escape_line};

    #[test]
    fn a_terminal_sees_no_control_character() {
        assert_eq!(escape("a\r\nb\tc\x1b[31md\x07"), "a\nb\tc\\x1b[31md\\x07");
        assert_eq!(escape("x\u{9b}31m\u{7f}"), "x\\x9b31m\\x7f");
        assert_eq!(escape("50%\rdone"), "50%\\x0ddone");
        assert_eq!(escape("\u{202e}exe"), "\\u{202e}exe");
        assert_eq!(escape_line("a\nb"), "a b");
    }
}
