//! Where things are: the person's own directories, and what the installation says.

use std::path::{Path, PathBuf};

use banger_core::api::Kind;
use banger_core::config::Directories;
use banger_protocol::{Install, install};

use super::{Exit, Failure};

/// The person's own directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// The home directory: what `~/` stands for in documents.
    pub(super) home: PathBuf,
    /// `~/.config/banger`, or `BANGER_CONFIG_DIR`.
    pub(super) config: PathBuf,
    /// `~/.local/state/banger`, or `BANGER_STATE_DIR`.
    pub(super) state: PathBuf,
    /// Where documents are, by `config.toml`.
    directories: Directories,
}

impl Places {
    /// From the environment.
    ///
    /// # Errors
    /// Where `HOME` isn't set.
    pub(super) fn from_env() -> Result<Self, Failure> {
        let (home, file) = config_file()?;
        let config = file.parent().map(Path::to_owned).unwrap_or_default();
        // What is wrong with the file is `config validate`'s to say, and the
        // daemon's; to write documents beside those that it reads would be worse.
        let directories = crate::config::load_file(&file, &home)
            .map_err(|error| {
                Failure::invalid("where documents go can't be told")
                    .because(&error)
                    .help("`banger config validate` says what is wrong")
            })?
            .directories;
        Ok(Self {
            config,
            directories,
            state: chosen("BANGER_STATE_DIR").unwrap_or_else(|| home.join(".local/state/banger")),
            home,
        })
    }

    /// The directories that declare objects.
    pub(super) fn sources(&self) -> [PathBuf; 2] {
        [
            self.directories.images.clone(),
            self.directories.vms.clone(),
        ]
    }

    /// Where a new document of this kind goes.
    pub(super) fn source_of(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Image => self.directories.images.clone(),
            Kind::VirtualMachine => self.directories.vms.clone(),
        }
    }

    /// The owner's key for guests.
    pub(super) fn ssh_key(&self) -> PathBuf {
        self.state.join("ssh/id_ed25519")
    }
}

/// The home directory, and where the configuration is.
///
/// # Errors
/// Where `HOME` isn't set.
pub(super) fn config_file() -> Result<(PathBuf, PathBuf), Failure> {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|home| home.is_absolute())
        .ok_or_else(|| {
            Failure::new(Exit::Invalid, "the home directory isn't known")
                .help("set HOME to an absolute path")
        })?;
    let directory = chosen("BANGER_CONFIG_DIR").unwrap_or_else(|| home.join(".config/banger"));
    let file = directory.join("config.toml");
    Ok((home, file))
}

fn chosen(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The installation's metadata, where there is one that can be read.
pub(super) fn installed() -> Option<Install> {
    read_install(Path::new(install::PATH))
}

/// The metadata in this file.
pub(super) fn read_install(path: &Path) -> Option<Install> {
    toml::from_str(&std::fs::read_to_string(path).ok()?).ok()
}
