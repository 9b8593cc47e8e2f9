//! The account that banger on this host belongs to.

use std::path::PathBuf;

use nix::unistd::User;

use crate::cli::{Exit, Failure};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Its login name.
    pub(super) name: String,
    /// Its uid, never 0.
    pub(super) uid: u32,
    /// Its primary group.
    pub(super) gid: u32,
    /// Its home directory.
    pub(super) home: PathBuf,
}

impl Owner {
    /// The account of this name.
    ///
    /// # Errors
    /// Where there is none, or it is root's.
    pub(super) fn named(name: &str) -> Result<Self, Failure> {
        let user = User::from_name(name).map_err(|error| {
            Failure::new(
                Exit::Internal,
                format!("the account `{name}` can't be looked up"),
            )
            .because(&error)
        })?;
        let user = user.ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("there is no account `{name}`"))
                .help("name the account that VMs are to belong to: `--owner USER`")
        })?;
        if user.uid.is_root() {
            return Err(Failure::invalid(
                "root can't be the owner: the daemon runs as the owner, without privileges",
            )
            .help("name the account that VMs are to belong to: `--owner USER`"));
        }
        Ok(Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            home: user.dir,
        })
    }

    /// Who called sudo.
    pub(super) fn caller() -> Option<String> {
        std::env::var("SUDO_USER")
            .ok()
            .filter(|name| !name.is_empty() && name != "root")
    }
}
