//! `banger system status`: is this host fit, and are the services up? The
//! installation's facts, then what of `banger doctor` isn't well; both say the
//! same, because both ask the same checks.

use banger_protocol::install;
use clap::Args;

use super::program;
use crate::cli::context::Context;
use crate::cli::doctor::{Counts, Verdict, examine, render};
use crate::cli::escape::escape_line;
use crate::cli::output::{print, print_raw};
use crate::cli::places::installed;
use crate::cli::{Exit, Failure};

/// `banger system status`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Status {}

impl Status {
    /// Exit code 1 where anything fails, as `banger doctor`.
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let line = |what: &str, words: &str| -> Result<(), Failure> {
            print(format_args!("{what:<24}{}", escape_line(words)))
        };
        let checks = examine(context);
        let installed = installed();
        if let Some(installed) = &installed {
            line("owner", &installed.owner)?;
            line("subnet", &installed.subnet.to_string())?;
            line("IPv6 subnet", &installed.ula().to_string())?;
            line("state", &installed.state_dir.display().to_string())?;
            let running = program::running_vmms().map_or_else(
                |_| "systemd doesn't tell".to_owned(),
                |units| units.len().to_string(),
            );
            line("running VMMs", &running)?;
        }
        // What was skipped is the doctor's to explain.
        let told: Vec<_> = checks
            .iter()
            .filter(|check| check.verdict != Verdict::Skip)
            .cloned()
            .collect();
        print_raw(&render(&told))?;
        if installed.is_none() {
            return Err(Failure::new(
                Exit::Differs,
                format!(
                    "banger isn't installed on this host: {} isn't there",
                    install::PATH
                ),
            )
            .help("`sudo banger system install`"));
        }
        Ok(if Counts::of(&checks).well() {
            Exit::Ok
        } else {
            Exit::Differs
        })
    }
}
