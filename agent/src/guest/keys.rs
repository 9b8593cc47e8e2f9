//! `/root/.ssh/authorized_keys`.

use std::io;

use rustix::fs::{Mode, OFlags, fchmod};

use super::block::replace;
use super::root::Root;

const DIRECTORY: &str = "/root/.ssh";
const FILE: &str = "/root/.ssh/authorized_keys";

/// Makes exactly these keys banger's; the guest's own lines stay.
pub(crate) fn authorize(root: &Root, keys: &[String]) -> io::Result<()> {
    root.directory("/root", 0o700)?;
    root.directory(DIRECTORY, 0o700)?;
    // sshd refuses keys in a directory that others may write to (sshd(8), StrictModes).
    let directory = root.at(DIRECTORY, OFlags::RDONLY | OFlags::DIRECTORY)?;
    fchmod(&directory, Mode::from_raw_mode(0o700))?;
    let lines: Vec<String> = keys
        .iter()
        .flat_map(|key| key.lines())
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    let text = replace(&root.read_text(FILE)?, &lines);
    root.write(FILE, text.as_bytes(), 0o600)
}
