//! `banger config view|validate`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::output::{note_raw, print, print_raw};
use crate::cli::places::config_file;
use crate::cli::{Exit, Failure, problem};
use crate::config::{ConfigError, load_file};

/// `banger config …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Config {
    /// Print what holds: ~/.config/banger/config.toml with all defaults
    View,
    /// Check ~/.config/banger/config.toml, or another file
    Validate {
        /// The file
        file: Option<PathBuf>,
    },
}

impl Config {
    pub(in crate::cli) fn run(self) -> Result<Exit, Failure> {
        let (home, path) = config_file()?;
        match self {
            Self::View => {
                let config = load_file(&path, &home).map_err(|error| explained(&error))?;
                let toml = config.to_toml().map_err(|error| {
                    Failure::new(Exit::Internal, "the configuration can't be written as TOML")
                        .because(&error)
                })?;
                print_raw(&toml)?;
            }
            Self::Validate { file } => {
                let path = file.unwrap_or(path);
                load_file(&path, &home).map_err(|error| explained(&error))?;
                if path.exists() {
                    print(format_args!("{} is valid", path.display()))?;
                } else {
                    print(format_args!(
                        "{} isn't there: the defaults hold",
                        path.display()
                    ))?;
                }
            }
        }
        Ok(Exit::Ok)
    }
}

/// Every problem on stderr with its place, then what that means.
fn explained(error: &ConfigError) -> Failure {
    match error {
        ConfigError::Invalid { path, problems } => {
            note_raw(&problem::render_all(problems));
            Failure::invalid(format!("{} is not valid", path.display()))
                .help("correct the lines above; bangerd goes by it when it starts again")
        }
        error => Failure::new(Exit::Internal, "the configuration can't be read").because(error),
    }
}
