//! Banger's lines in a file that others write to as well.

/// The line in front.
const BEGIN: &str = "# banger: begin (rewritten at every boot)";
/// What the line in front begins with, in this version and any other.
const BEGIN_ANY: &str = "# banger: begin";
/// The line behind.
const END: &str = "# banger: end";

/// Replaces banger's lines; every other line stays. Without lines there is no
/// block. A block without an end (a person's edit) loses its first line only.
pub(super) fn replace(text: &str, lines: &[String]) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut rest = text.lines();
    while let Some(line) = rest.next() {
        if line.starts_with(BEGIN_ANY) {
            let mut after = rest.clone();
            if after.any(|line| line == END) {
                rest = after;
            }
        } else if line != END {
            kept.push(line);
        }
    }
    if !lines.is_empty() {
        kept.push(BEGIN);
        kept.extend(lines.iter().map(String::as_str));
        kept.push(END);
    }
    kept.iter()
        .fold(String::new(), |text, line| text + line + "\n")
}
