//! Where the daemon listens: on the socket that systemd passed, or on its own.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The socket that systemd passed.
    #[error("the socket that systemd passed can't be used")]
    Passed(#[source] io::Error),
    /// A socket of one's own.
    #[error("can't listen on {}: check that its directory exists and is yours", .path.display())]
    Own {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A socket to listen on. One of the daemon's own is removed at the end.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    own: Option<PathBuf>,
}

impl Socket {
    /// The socket that systemd passed (sd_listen_fds(3)), if it did.
    pub fn passed() -> Result<Option<Self>, BindError> {
        let mut descriptors = sd_notify::listen_fds().map_err(BindError::Passed)?;
        let Some(raw) = descriptors.next() else {
            return Ok(None);
        };
        // SAFETY: sd_listen_fds(3) hands this descriptor over to this process,
        // and nobody else in it takes it: this is called once, by `main`.
        let owned = unsafe { OwnedFd::from_raw_fd(raw) };
        let listener = StdListener::from(owned);
        let listener = tokio_listener(listener).map_err(BindError::Passed)?;
        Ok(Some(Self {
            listener,
            own: None,
        }))
    }

    /// Listens on a path of the daemon's own. A socket that stands there is
    /// taken to be left over: the caller holds the state directory's lock.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Own {
            path: path.to_owned(),
            source,
        };
        let left = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if left {
            fs::remove_file(path).map_err(failed)?;
        }
        let listener = StdListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self {
            listener: tokio_listener(listener).map_err(failed)?,
            own: Some(path.to_owned()),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(path) = &self.own {
            // One that stays is replaced at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

fn tokio_listener(listener: StdListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}
