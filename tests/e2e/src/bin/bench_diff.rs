//! How long a preview takes: `banger diff` with many admitted VMs, a few of
//! them edited, against a daemon on the simulated host. Each measured run is
//! paired with one of `banger version`, which asks the same daemon for next to
//! nothing: the ratio holds when the machine's speed drifts.

use std::time::Duration;

use anyhow::{Result, ensure};
use banger_e2e::sim::{Daemon, median, time};
use clap::Parser;

/// Measures `banger diff` on the simulated host.
#[derive(Parser)]
struct Arguments {
    /// VMs that are admitted.
    #[arg(long, default_value_t = 1000)]
    vms: u32,
    /// VMs that are edited.
    #[arg(long, default_value_t = 10)]
    edited: u32,
    /// Measured runs, after three that aren't.
    #[arg(long, default_value_t = 20)]
    runs: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let daemon = Daemon::with_vms(arguments.vms)?;
    println!(
        "{} VMs Ready on the simulated host after {:.1} s",
        arguments.vms,
        daemon.took.as_secs_f64()
    );
    for n in 0..arguments.edited {
        daemon.write(n, 2)?;
    }
    let (mut diffs, mut floors) = (Vec::new(), Vec::new());
    for run in 0..arguments.runs + 3 {
        let (diff, shown) = time(&mut daemon.banger(&["diff"]), 1)?;
        let (floor, _) = time(&mut daemon.banger(&["version"]), 0)?;
        let names = (0..arguments.edited)
            .filter(|n| shown.contains(&format!("vm-{n}")))
            .count();
        ensure!(
            names == arguments.edited as usize,
            "diff shows {names} of the edited VMs:\n{shown}"
        );
        if run >= 3 {
            diffs.push(diff);
            floors.push(floor);
        }
    }
    let (diff, floor) = (median(&mut diffs), median(&mut floors));
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "banger diff: median of {} runs {:.1} ms ({:.1} to {:.1}); banger version: {:.1} ms; ratio {:.1}",
        diffs.len(),
        ms(diff),
        ms(diffs[0]),
        ms(diffs[diffs.len() - 1]),
        ms(floor),
        ms(diff) / ms(floor)
    );
    Ok(())
}
