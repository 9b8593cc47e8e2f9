//! `make demo`: from nothing to microVMs made of YAML files, on a disposable
//! host, everything real.

use std::io::IsTerminal as _;

use anyhow::Result;
use banger_e2e::{Demo, Interrupts, Lab, Options, Stages, farewell, install_deps, payload};
use clap::Parser;

const NAME: &str = "demo";

/// Shows banger on a disposable host, from nothing.
#[derive(Parser)]
struct Arguments {
    /// Leaves the host running at the end.
    #[arg(long)]
    keep: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Or a signal would leave root's mmdebstrap behind.
    let _interrupts = Interrupts::hold()?;
    let stages = Stages::default();
    install_deps(stages)?;
    let payload = payload::build(stages)?;
    let options = Options {
        payload: Some(payload.path().to_owned()),
        outlives_us: arguments.keep,
        ..Options::default()
    };
    let lab = Lab::up_with(NAME, options)?;
    // The examples name the image where a person would keep it.
    lab.owner("mkdir -p ~/images && ln -sf /images/debian-12.ext4 ~/images/debian-12.ext4")?;
    let terminal = std::io::stdout().is_terminal();
    let demo = Demo {
        ask: &|line| lab.ask(line),
        ready: &|name| stages.run(&format!("{name} becomes Ready"), || lab.ready(name)),
        print: &|text| print!("{text}"),
        colour: terminal || std::env::var_os("CLICOLOR_FORCE").is_some(),
    };
    demo.run()?;
    if arguments.keep {
        lab.host.leave();
    } else {
        drop(lab);
    }
    if arguments.keep || terminal {
        println!("\n{}", farewell(NAME, arguments.keep).trim_end());
    }
    Ok(())
}
