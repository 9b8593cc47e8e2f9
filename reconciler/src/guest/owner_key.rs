//! The key pair that `banger vm ssh` logs in with. It is the owner's, made
//! when it is first needed, and never leaves the owner's home.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::Mutex;

use crate::act::files;

/// Where the private key stands, below the home directory.
pub const PRIVATE: &str = ".local/state/banger/ssh/id_ed25519";

/// The pair could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum OwnerKeyError {
    /// A file could not be read or written.
    #[error("the owner's banger key {path} can't be made or read: {source}")]
    File {
        /// The private key.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `ssh-keygen` failed.
    #[error("ssh-keygen could not make {path}: {message}")]
    Keygen {
        /// The private key.
        path: PathBuf,
        /// What it said.
        message: String,
    },
}

/// The owner's key.
pub struct OwnerKey {
    private: PathBuf,
    /// Held while the pair is made, so that it is made once.
    making: Mutex<()>,
}

impl OwnerKey {
    /// The key of the owner with this home.
    pub fn of_home(home: &Path) -> Self {
        Self {
            private: home.join(PRIVATE),
            making: Mutex::new(()),
        }
    }

    /// The public key as a line of `authorized_keys`; the pair is made if it isn't there.
    pub async fn public(&self) -> Result<String, OwnerKeyError> {
        let _making = self.making.lock().await;
        let file = |source| OwnerKeyError::File {
            path: self.private.clone(),
            source,
        };
        let public = self.private.with_extension("pub");
        if !self.private.try_exists().map_err(file)? || !public.try_exists().map_err(file)? {
            self.make().await?;
        }
        let line = std::fs::read_to_string(&public).map_err(file)?;
        Ok(line.trim().to_owned())
    }

    /// Under another name first: the private key appears last and whole.
    async fn make(&self) -> Result<(), OwnerKeyError> {
        let file = |source| OwnerKeyError::File {
            path: self.private.clone(),
            source,
        };
        if let Some(directory) = self.private.parent() {
            files::private_directory(directory).map_err(file)?;
        }
        let draft = self.private.with_extension("new");
        let draft_public = self.private.with_extension("new.pub");
        for stale in [&draft, &draft_public] {
            files::remove(stale).map_err(file)?;
        }
        let keygen = |message: String| OwnerKeyError::Keygen {
            path: self.private.clone(),
            message,
        };
        let output = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "banger", "-f"])
            .arg(&draft)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| keygen(error.to_string()))?;
        if !output.status.success() {
            return Err(keygen(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        let public = self.private.with_extension("pub");
        files::publish(&draft_public, &public).map_err(file)?;
        files::publish(&draft, &self.private).map_err(file)
    }
}
