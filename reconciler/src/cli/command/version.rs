//! `banger version`: client, daemon, helper.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::escape::escape_line;
use crate::cli::output::print;
use crate::cli::{Exit, Failure};

/// `banger version`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Version {
    /// Only the client's; the daemon isn't asked
    #[arg(long)]
    client: bool,
}

impl Version {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        print(format_args!("client: {}", env!("CARGO_PKG_VERSION")))?;
        if self.client {
            return Ok(Exit::Ok);
        }
        match context.daemon.version() {
            Ok(versions) => {
                let host = if versions.simulated {
                    " (on a simulated host)"
                } else {
                    ""
                };
                print(format_args!(
                    "daemon: {}{host}",
                    escape_line(&versions.daemon)
                ))?;
                match versions.helper {
                    Ok(version) => {
                        print(format_args!("helper: protocol {}", escape_line(&version)))?
                    }
                    Err(why) => print(format_args!("helper: unknown: {}", escape_line(&why)))?,
                }
                Ok(Exit::Ok)
            }
            Err(error) => {
                print("daemon: unknown")?;
                Err(error.into())
            }
        }
    }
}
