//! `banger schema vm|image|config|all`: JSON Schema, for editors.

use banger_core::schema;
use clap::{Args, ValueEnum};

use crate::cli::output::print;
use crate::cli::{Exit, Failure};

/// `banger schema vm|image|config|all`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Schema {
    /// Of what
    #[arg(value_enum)]
    of: Of,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// A VirtualMachine
    #[value(alias = "vms", alias = "virtualmachine")]
    Vm,
    /// An Image
    #[value(alias = "images")]
    Image,
    /// config.toml
    Config,
    /// Any document: what an editor is told to check files of specs with
    All,
}

impl Schema {
    pub(in crate::cli) fn run(self) -> Result<Exit, Failure> {
        let schema = match self.of {
            Of::Vm => schema::virtual_machine(),
            Of::Image => schema::image(),
            Of::Config => schema::config(),
            Of::All => schema::banger(),
        };
        print(serde_json::to_string_pretty(&schema).map_err(|error| {
            Failure::new(Exit::Internal, "the schema can't be written").because(&error)
        })?)?;
        Ok(Exit::Ok)
    }
}
