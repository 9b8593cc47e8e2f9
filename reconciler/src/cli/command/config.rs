//! `banger config view|validate`.

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::output::{note, print, print_raw};
use crate::cli::{Exit, Failure};

/// `banger config …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Config {
    /// Print ~/.config/banger/config.toml
    View,
    /// Check ~/.config/banger/config.toml
    Validate,
}

impl Config {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let path = context.places()?.config.join("config.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                note(format_args!(
                    "{} isn't there: the defaults hold.",
                    path.display()
                ));
                return Ok(Exit::Ok);
            }
            Err(error) => {
                let what = format!("{} can't be read", path.display());
                return Err(Failure::new(Exit::Internal, what).because(&error));
            }
        };
        match self {
            Self::View => print_raw(&text)?,
            Self::Validate => {
                text.parse::<toml::Table>().map_err(|error| {
                    Failure::invalid(format!("{} is not valid", path.display())).because(&error)
                })?;
                print(format_args!("{} is valid", path.display()))?;
            }
        }
        Ok(Exit::Ok)
    }
}
