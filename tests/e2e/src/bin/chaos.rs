//! Chaos on a disposable host of its own; see `banger_e2e::chaos`.

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use banger_e2e::{SavedLab, Stages, chaos, payload};
use clap::Parser;

/// It starts anew so often when the host's own kernel died.
const CRASH_RETRIES: u32 = 2;

/// Edits, kills and power cuts, drawn from a seed.
#[derive(Parser)]
struct Arguments {
    /// Rounds with a kill.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// Rounds with a power cut.
    #[arg(long, default_value_t = 1)]
    cuts: u32,
    /// Replays the run that printed it; default: another one each time.
    #[arg(long, env = "BANGER_SEED")]
    seed: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let measure = chaos::Measure {
        kills: arguments.kills,
        cuts: arguments.cuts,
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32)),
    };
    let name = format!(
        "chaos ({} kills, {} power cuts, seed {})",
        measure.kills, measure.cuts, measure.seed
    );
    println!("running {name}");
    let payload = payload::build(Stages::default())?;
    let saved = SavedLab::of(payload.path())?;
    let start = Instant::now();
    for crashes in 1.. {
        let mut lab = None;
        let result = chaos::run(&mut lab, &saved, measure, &|line| println!("    {line}"));
        let seconds = start.elapsed().as_secs_f64();
        let Err(error) = result else {
            println!("PASS [{seconds:6.1} s] {name}\n1 passed, 0 failed, 0 skipped");
            return Ok(ExitCode::SUCCESS);
        };
        let died = lab.as_ref().and_then(|lab| lab.host.crashed());
        match died {
            Some(line) if crashes <= CRASH_RETRIES => {
                println!("HOST CRASH {crashes} in {name}, again on a fresh host: {line}");
            }
            _ => {
                println!("FAIL [{seconds:6.1} s] {name}\n{error:#}\n0 passed, 1 failed, 0 skipped");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    unreachable!("the last attempt returns")
}
