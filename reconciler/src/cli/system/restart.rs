//! `banger system restart`: daemon and helper anew. VMs are services of their own.

use clap::Args;

use super::layout::SERVICES;
use super::{program, require_root};
use crate::cli::output::print;
use crate::cli::{Exit, Failure};

/// `banger system restart`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Restart {}

impl Restart {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        require_root("restart")?;
        // The helper comes back by its socket.
        program::run("systemctl", &["stop", SERVICES[0], SERVICES[1]])?;
        program::run("systemctl", &["start", SERVICES[0]])
            .map_err(|failure| failure.help("`journalctl -u bangerd -u banger-helper` says why"))?;
        print("restarted; VMs kept running")?;
        Ok(Exit::Ok)
    }
}
