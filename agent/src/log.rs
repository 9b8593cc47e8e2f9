//! The agent's log: the kernel's, so that it stands in order with the kernel's
//! own lines, on the console where it is an error, and in the guest's journal.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;

/// For whoever looks into the guest's log.
pub(crate) fn note(line: impl Display) {
    write(6, &line);
}

/// For the console, also under `quiet`.
pub(crate) fn error(line: impl Display) {
    write(3, &line);
}

/// One record is one write (Linux: Documentation/ABI/testing/dev-kmsg).
fn write(level: u8, line: &dyn Display) {
    let record = format!("<{level}>banger-agent: {line}\n");
    let logged = OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut kmsg| kmsg.write_all(record.as_bytes()));
    if logged.is_err() {
        // Before /dev is there, standard error is the console.
        let _ = std::io::stderr().write_all(&record.as_bytes()[3..]);
    }
}
