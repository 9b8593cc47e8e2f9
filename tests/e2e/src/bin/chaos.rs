//! Chaos on a disposable host of its own; see `banger_e2e::chaos`.

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use banger_e2e::{Interrupts, SavedLab, Stages, attempt, chaos, payload};
use clap::Parser;

/// Edits, kills and power cuts, drawn from a seed.
#[derive(Parser)]
struct Arguments {
    /// Kills, up to four a round.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// Power cuts; each ends its round.
    #[arg(long, default_value_t = 1)]
    cuts: u32,
    /// Fresh hosts, one after the other, that the rounds are spread over. A host
    /// whose own kernel dies costs only its own rounds.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    hosts: u32,
    /// Replays the run that printed it; default: another one each time. Each
    /// further host has the next one.
    #[arg(long, env = "BANGER_SEED")]
    seed: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    // Or a signal would leave root's mmdebstrap behind.
    let _interrupts = Interrupts::hold()?;
    let payload = payload::build(Stages::default())?;
    let saved = SavedLab::of(payload.path())?;
    let (mut passed, mut failed) = (0, 0);
    for host in 0..arguments.hosts {
        let measure = chaos::Measure {
            kills: share(arguments.kills, host, arguments.hosts),
            cuts: share(arguments.cuts, host, arguments.hosts),
            seed: seed.wrapping_add(u64::from(host)),
        };
        println!("running {measure}");
        let start = Instant::now();
        let say = |line: &str| println!("    {:7.1} s {line}", start.elapsed().as_secs_f64());
        let (result, _) = attempt(
            &measure.to_string(),
            None,
            &|| saved.resume("chaos", chaos::options()),
            &|lab| chaos::run(lab, measure, &say),
        )?;
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                passed += 1;
                println!("PASS [{seconds:6.1} s] {measure}");
            }
            Err(error) => {
                failed += 1;
                println!("FAIL [{seconds:6.1} s] {measure}\n{error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What one of so many hosts gets of all rounds.
const fn share(all: u32, host: u32, hosts: u32) -> u32 {
    all / hosts + if host < all % hosts { 1 } else { 0 }
}
