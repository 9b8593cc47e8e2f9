//! `banger system status`: is this host fit, and are the services up?

use banger_protocol::install;
use clap::Args;

use super::layout::{SERVICES, SOCKETS};
use super::preflight;
use super::program::{run, try_run};
use crate::cli::context::Context;
use crate::cli::escape::escape_line;
use crate::cli::output::{note, print};
use crate::cli::places::installed;
use crate::cli::style::{BAD, GOOD};
use crate::cli::{Exit, Failure};

/// `banger system status`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Status {}

impl Status {
    /// Exit code 1 where anything isn't as it should be.
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut well = true;
        let mut line = |what: &str, good: bool, words: &str| -> Result<(), Failure> {
            well &= good;
            let style = if good { GOOD } else { BAD };
            print(format_args!(
                "{what:<24}{style}{}{style:#}",
                escape_line(words)
            ))
        };
        for check in preflight::check() {
            match check.wrong {
                None => line(&check.what, true, "ok")?,
                Some((wrong, help)) => {
                    line(&check.what, false, &wrong)?;
                    note(format_args!("  help: {help}"));
                }
            }
        }
        let Some(installed) = installed() else {
            line(install::PATH, false, "isn't there")?;
            return Err(
                Failure::new(Exit::Differs, "banger isn't installed on this host")
                    .help("`sudo banger system install`"),
            );
        };
        line("owner", true, &installed.owner)?;
        line("subnet", true, &installed.subnet.to_string())?;
        for unit in SOCKETS.into_iter().chain(SERVICES) {
            let state = try_run("systemctl", &["show", "-P", "ActiveState", unit]);
            let state = state.as_deref().map_or("unknown", str::trim);
            // The helper comes when it is called.
            let good =
                state == "active" || (unit == "banger-helper.service" && state == "inactive");
            line(unit, good, state)?;
        }
        let running = run(
            "systemctl",
            &[
                "list-units",
                "--plain",
                "--no-legend",
                "--state=active",
                "banger-vm-*.service",
            ],
        )?;
        line("running VMs", true, &running.lines().count().to_string())?;
        match context.daemon.version() {
            Ok(versions) => {
                line("daemon", true, &versions.daemon)?;
                match versions.helper {
                    Ok(helper) => line("helper", true, &format!("protocol {helper}"))?,
                    Err(why) => line("helper", false, &why)?,
                }
            }
            Err(error) => line("daemon", false, &error.to_string())?,
        }
        Ok(if well { Exit::Ok } else { Exit::Differs })
    }
}
