//! `bangerd.lock`: one daemon per state directory.
//!
//! The lock is `flock(2)` on an open file, so it ends with the process,
//! however that ends. The pid in the file is only for the message.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::OpenError;

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Takes the lock of a state directory, or says who holds it.
    pub(super) fn take(state_dir: &Path) -> Result<Self, OpenError> {
        let directory = |source| OpenError::Directory {
            path: state_dir.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(state_dir.join("bangerd.lock"))
            .map_err(directory)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // A pid that can't be read only makes the message shorter.
                let _ = file.read_to_string(&mut text);
                return Err(OpenError::Locked {
                    path: state_dir.to_owned(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(errno) => return Err(directory(errno.into())),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(directory)?;
        Ok(Self(file))
    }
}
