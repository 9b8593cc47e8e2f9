//! Chaos on a disposable host of its own; see `banger_e2e::chaos`.

use std::{
    panic::resume_unwind,
    process::ExitCode,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Instant,
};

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
    /// Fresh hosts that the rounds are spread over. A host whose own kernel dies
    /// costs only its own rounds.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    hosts: u32,
    /// How many hosts run at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: u32,
    /// Replays the run that printed it; default: another one each time. Each
    /// further host has the next one.
    #[arg(long, env = "BANGER_SEED")]
    seed: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let payload = payload::build(Stages::default())?;
    let saved = SavedLab::of(payload.path())?;
    let next = AtomicU32::new(0);
    let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
        let work = |job| {
            let (arguments, saved, next) = (&arguments, &saved, &next);
            scope.spawn(move || take_turns(arguments, seed, saved, next, job))
        };
        let workers: Vec<_> = (0..arguments.jobs).map(work).collect();
        let ended = workers.into_iter().map(|worker| match worker.join() {
            Ok(tally) => tally,
            Err(panic) => resume_unwind(panic),
        });
        ended.collect()
    });
    let mut sum = Tally::default();
    for tally in tallies {
        let tally = tally?;
        sum.passed += tally.passed;
        sum.failed += tally.failed;
    }
    println!("{} passed, {} failed, 0 skipped", sum.passed, sum.failed);
    Ok(match sum.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

/// One host after another, until none is left.
fn take_turns(
    arguments: &Arguments,
    seed: u64,
    saved: &SavedLab,
    next: &AtomicU32,
    job: u32,
) -> Result<Tally> {
    let name = format!("chaos-{job}");
    let mut tally = Tally::default();
    loop {
        let host = next.fetch_add(1, Ordering::Relaxed);
        if host >= arguments.hosts {
            return Ok(tally);
        }
        let measure = chaos::Measure {
            kills: share(arguments.kills, host, arguments.hosts),
            cuts: share(arguments.cuts, host, arguments.hosts),
            seed: seed.wrapping_add(u64::from(host)),
        };
        println!("running {measure}");
        let start = Instant::now();
        let say = |line: &str| {
            println!("{name} {:7.1} s {line}", start.elapsed().as_secs_f64());
        };
        let (result, _) = attempt(
            &measure.to_string(),
            None,
            &|| saved.resume(&name, chaos::options()),
            &|lab| chaos::run(lab, measure, &say),
        )?;
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                tally.passed += 1;
                println!("PASS [{seconds:6.1} s] {measure}");
            }
            Err(error) => {
                tally.failed += 1;
                println!("FAIL [{seconds:6.1} s] {measure}\n{error:#}");
            }
        }
    }
}

/// What one of so many hosts gets of all rounds.
const fn share(all: u32, host: u32, hosts: u32) -> u32 {
    all / hosts + if host < all % hosts { 1 } else { 0 }
}
