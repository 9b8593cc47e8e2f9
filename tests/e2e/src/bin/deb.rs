//! Packs the programs that `make build` made into a Debian package.

use std::path::PathBuf;

use anyhow::Result;
use banger_e2e::package;
use clap::Parser;

/// Makes the Debian package.
#[derive(Parser)]
struct Arguments {
    /// Where the four programs are.
    programs: PathBuf,
    /// The package's revision of this version of banger.
    #[arg(long, default_value = "1")]
    revision: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let package = package::pack(&arguments.programs, &arguments.revision, false)?;
    println!("{}", package.display());
    Ok(())
}
