//! The work disk: an ext4 of the guest's own.

use std::path::Path;
use std::process::{Command, Stdio};

use banger_core::seam::StepError;
use banger_protocol::{Sectors, VmUid};

use super::failure;
use super::files;
use super::layout::Layout;

/// A sparse file with an empty ext4. It appears under its name only once it
/// is whole. One that exists is made longer where it is too short, never
/// shorter; the guest grows the file system itself.
pub(super) async fn make(layout: &Layout, uid: VmUid, size: Sectors) -> Result<(), StepError> {
    let path = layout.work(uid);
    let failed = |error| failure::file("make the work disk", &path, error);
    files::private_directory(&layout.vm(uid)).map_err(failed)?;
    if path.try_exists().map_err(failed)? {
        return files::at_least(&path, size.bytes()).map_err(failed);
    }
    let draft = files::draft(&path);
    files::remove(&draft).map_err(failed)?;
    files::at_least(&draft, size.bytes()).map_err(failed)?;
    format(&draft).await?;
    files::publish(&draft, &path).map_err(failed)
}

/// The program that makes an empty ext4 of a file.
///
/// Inode tables and journal are written by the guest's kernel as they are
/// needed, so that the file stays sparse and this takes milliseconds.
pub(crate) fn mkfs(file: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut mkfs = Command::new("mkfs.ext4");
    // A user's PATH often lacks the directories of system programs.
    mkfs.env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(["-q", "-F", "-b", "4096", "-L", "work"])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1"])
        .arg(file)
        .stdin(Stdio::null());
    mkfs
}

async fn format(file: &Path) -> Result<(), StepError> {
    let output = tokio::process::Command::from(mkfs(file))
        .output()
        .await
        .map_err(|error| {
            StepError::lasting(
                format!("mkfs.ext4 could not be run: {error}"),
                "install e2fsprogs",
            )
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(StepError::transient(format!(
        "mkfs.ext4 could not format {}: {}",
        file.display(),
        said.trim()
    )))
}
