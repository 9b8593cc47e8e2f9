//! Reading it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use banger_core::config::{self, Config};
use banger_core::problem::Problem;

/// No configuration is longer: it is read into memory as a whole.
const MAX_BYTES: u64 = 1 << 20;

/// Why there is no configuration to go by.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there and can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it holds isn't right.
    #[error("{} is not valid", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong, each with its place and its remedy.
        problems: Vec<Problem>,
    },
}

/// Where the file is: `~/.config/banger/config.toml`.
pub fn path(home: &Path) -> PathBuf {
    home.join(".config/banger/config.toml")
}

/// The configuration of the owner of this home directory.
///
/// # Errors
/// The file is there and can't be read, or isn't right.
pub fn load(home: &Path) -> Result<Config, ConfigError> {
    load_file(&path(home), home)
}

/// The configuration in this file (absolute); its defaults where it is missing.
///
/// # Errors
/// The file is there and can't be read, or isn't right.
pub fn load_file(path: &Path, home: &Path) -> Result<Config, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    match fs::metadata(path) {
        // Opening a FIFO would wait for somebody to write.
        Ok(metadata) if !metadata.is_file() => {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        Ok(_) => {
            let file = File::open(path).map_err(failed)?;
            file.take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)
                .map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Config::without_file(path, home));
        }
        Err(error) => return Err(failed(error)),
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed(io::Error::other("it is longer than 1 MiB")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| failed(io::Error::other("it is not UTF-8 text; save it as UTF-8")))?;
    config::parse(path, &text, home).map_err(|problems| ConfigError::Invalid {
        path: path.to_owned(),
        problems,
    })
}
