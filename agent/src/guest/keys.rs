//! `/root/.ssh/authorized_keys`.

use std::io;

use rustix::fs::{Mode, OFlags, fchmod};

use super::block::replace;
use super::root::Root;

const HOME: &str = "/root";
const DIRECTORY: &str = "/root/.ssh";
const FILE: &str = "/root/.ssh/authorized_keys";

/// Makes exactly these keys banger's; the guest's own lines stay.
pub(crate) fn authorize(root: &Root, keys: &[String]) -> io::Result<()> {
    let close = |path: &str| -> io::Result<()> {
        let directory = root.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(fchmod(&directory, Mode::from_raw_mode(0o700))?)
    };
    root.directory(HOME, 0o700)?;
    // The first time; mkfs makes a work disk's root readable for everybody.
    if root.at(DIRECTORY, OFlags::PATH).is_err() {
        close(HOME)?;
    }
    root.directory(DIRECTORY, 0o700)?;
    // sshd refuses keys in a directory that others may write to (sshd(8), StrictModes).
    close(DIRECTORY)?;
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
