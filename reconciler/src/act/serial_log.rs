//! Keeping serial logs short.
//!
//! Firecracker writes a guest's console to its standard output, which is the
//! log itself: neither a pipe to the daemon nor a limit on the file's size
//! would do, both end the VMM. So the log is looked at from time to time and
//! its head is cut off. The VMM has it open for appending, so that its next
//! write goes to the new end, wherever that is. A guest can exceed the cap by
//! what it writes between two looks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Weak;
use std::time::Duration;

use rustix::fs::{FallocateFlags, OFlags, fallocate};

use super::shared::Shared;

/// A log that is longer is cut.
pub(super) const CAP: u64 = 4 << 20;
/// What is kept of it, the end.
pub(super) const KEEP: u64 = 2 << 20;
/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at the logs of running VMs until the host is dropped.
pub(super) async fn keep_short(host: Weak<Shared>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(host) = host.upgrade() else {
            return;
        };
        let logs: Vec<_> = host
            .handles
            .running()
            .into_iter()
            .map(|uid| host.layout.serial_log(uid))
            .collect();
        drop(host);
        let cut = tokio::task::spawn_blocking(move || {
            for log in logs {
                if let Err(error) = cut(&log)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(log = %log.display(), %error, "the serial log can't be cut");
                }
            }
        });
        if cut.await.is_err() {
            return;
        }
    }
}

/// Cuts the head off a log that is too long: whole blocks are taken out where
/// the file system can (ext4, XFS; fallocate(2), `FALLOC_FL_COLLAPSE_RANGE`),
/// otherwise the log starts anew.
pub(super) fn cut(path: &Path) -> io::Result<()> {
    let log = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let length = log.metadata()?.len();
    if length <= CAP {
        return Ok(());
    }
    match collapse(&log, length - KEEP) {
        Err(error)
            if error == rustix::io::Errno::OPNOTSUPP || error == rustix::io::Errno::INVAL =>
        {
            log.set_len(0)
        }
        cut => Ok(cut?),
    }
}

fn collapse(log: &File, head: u64) -> rustix::io::Result<()> {
    let block = log
        .metadata()
        .map_or(4096, |found| found.blksize().max(4096));
    fallocate(log, FallocateFlags::COLLAPSE_RANGE, 0, head / block * block)
}
