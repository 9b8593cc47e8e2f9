//! `banger completion SHELL`.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::cli::output::print_raw;
use crate::cli::{Cli, Exit, Failure};

/// `banger completion SHELL`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub(in crate::cli) fn run(self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "banger", &mut script);
        print_raw(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Ok)
    }
}
