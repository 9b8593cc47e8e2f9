//! ext4 files made from directories (`mkfs.ext4 -d`, mke2fs(8)): no mount, no
//! loop device.

use std::{fs::File, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::run::run;

/// By its path: `/sbin` is not on everybody's PATH.
pub(crate) const MKFS: &str = "/sbin/mkfs.ext4";

/// 4 KiB blocks even on small file systems.
pub(crate) const BLOCKS: [&str; 2] = ["-b", "4096"];

/// How a file system is laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a> {
    /// Its label, at most 16 bytes.
    pub label: &'a str,
    /// The file's length in bytes; unused parts stay holes.
    pub length: u64,
    /// Whether it will be written to: read-only drives carry no journal.
    pub journal: bool,
}

/// Makes `file` from the tree at `directory`. `mkfs` is the command to start
/// from, so that a caller may run it as root.
///
/// # Errors
/// The file can't be made, or mkfs.ext4 fails (as when the tree doesn't fit).
pub(crate) fn make(
    mut mkfs: Command,
    file: &Path,
    directory: &Path,
    layout: Layout<'_>,
) -> Result<()> {
    let target = File::create(file).with_context(|| format!("cannot make {}", file.display()))?;
    target
        .set_len(layout.length)
        .with_context(|| format!("cannot extend {}", file.display()))?;
    drop(target);
    // The inode tables are zeroed now (holes in a fresh file), or the kernel
    // would do it after the mount.
    mkfs.args(["-q", "-F", "-m", "0", "-L", layout.label])
        .args(BLOCKS)
        .args(["-E", "lazy_itable_init=0,lazy_journal_init=0"])
        .args(["-i", "32768"]);
    if !layout.journal {
        mkfs.args(["-O", "^has_journal"]);
    }
    mkfs.arg("-d").arg(directory).arg(file);
    run(&mut mkfs).with_context(|| format!("cannot make a file system in {}", file.display()))?;
    Ok(())
}

/// The bytes that the files beneath `directory` occupy (holes not counted), by
/// `du(1)`.
///
/// # Errors
/// du fails.
pub(crate) fn used_bytes(mut du: Command, directory: &Path) -> Result<u64> {
    let output = run(du.args(["-s", "-B1"]).arg(directory))?;
    let text = String::from_utf8_lossy(&output);
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("du printed {text:?} for {}", directory.display()))
}
