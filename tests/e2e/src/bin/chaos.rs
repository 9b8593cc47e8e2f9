//! Chaos on a disposable host of its own; see `banger_e2e::chaos`.

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use banger_e2e::{SavedLab, Stages, attempt, chaos, payload};
use clap::Parser;

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
    println!("running {measure}");
    let payload = payload::build(Stages::default())?;
    let saved = SavedLab::of(payload.path())?;
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
            println!("PASS [{seconds:6.1} s] {measure}\n1 passed, 0 failed, 0 skipped");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("FAIL [{seconds:6.1} s] {measure}\n{error:#}\n0 passed, 1 failed, 0 skipped");
            Ok(ExitCode::FAILURE)
        }
    }
}
