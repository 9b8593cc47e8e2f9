//! Runs the scenarios on the disposable host: all of them, or those that are named.

use std::{
    panic::resume_unwind,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use banger_e2e::{Lab, Options, SavedLab, Scenario, Stages, decoys, payload, scenarios};
use clap::Parser;

/// A scenario runs again so often when the host's own kernel died under it.
const CRASH_RETRIES: u32 = 2;

/// Runs the end-to-end scenarios on the disposable host.
#[derive(Parser)]
struct Arguments {
    /// Only scenarios whose name contains one of these.
    names: Vec<String>,
    /// How many hosts run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Lists the names.
    #[arg(long)]
    list: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let chosen: Vec<&Scenario> = scenarios::ALL
        .iter()
        .filter(|scenario| {
            arguments.names.is_empty()
                || arguments
                    .names
                    .iter()
                    .any(|name| scenario.name.contains(name.as_str()))
        })
        .collect();
    if arguments.list {
        for scenario in &chosen {
            println!("{}", scenario.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let payload = payload::build(Stages::default())?;
    let saved = SavedLab::of(payload.path())?;
    let next = AtomicUsize::new(0);
    let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
        let work = |worker| {
            let (chosen, next, saved) = (&chosen, &next, &saved);
            scope.spawn(move || take_turns(chosen, next, saved, worker))
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
    Ok(if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

/// Takes the next scenario until there is none, on a host of its own.
fn take_turns(
    chosen: &[&Scenario],
    next: &AtomicUsize,
    saved: &SavedLab,
    worker: usize,
) -> Result<Tally> {
    let mut lab = None;
    let mut tally = Tally::default();
    while let Some(scenario) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
        let start = Instant::now();
        let result = with_retries(&mut lab, saved, worker, scenario)?;
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                tally.passed += 1;
                println!("PASS [{seconds:6.1} s] {}", scenario.name);
            }
            Err(error) => {
                tally.failed += 1;
                // Not `{:?}`: that adds a backtrace, and hides the story.
                println!("FAIL [{seconds:6.1} s] {}\n{error:#}", scenario.name);
            }
        }
    }
    Ok(tally)
}

/// A lab, and how it looked when it was new.
struct Fresh {
    lab: Lab,
    state: String,
}

impl Fresh {
    fn resume(saved: &SavedLab, worker: usize) -> Result<Self> {
        let lab = saved.resume(&format!("scenarios-{worker}"), Options::default())?;
        let state = lab.state()?;
        Ok(Self { lab, state })
    }
}

/// The inner result is the scenario's; the outer one says that no host can be had.
fn with_retries(
    fresh: &mut Option<Fresh>,
    saved: &SavedLab,
    worker: usize,
    scenario: &Scenario,
) -> Result<Result<()>> {
    for crashes in 1.. {
        // Whoever comes next gets the lab if it is as it was, else another one.
        let mut here = match fresh.take() {
            Some(here) => here,
            None => Fresh::resume(saved, worker)?,
        };
        // What isn't banger's survives each of them.
        let result = (scenario.run)(&mut here.lab).and_then(|()| decoys::untouched(&here.lab.host));
        let Err(error) = result else {
            if here.lab.state().is_ok_and(|state| state == here.state) {
                *fresh = Some(here);
            }
            return Ok(Ok(()));
        };
        match here.lab.host.crashed() {
            Some(line) if crashes <= CRASH_RETRIES => println!(
                "HOST CRASH {crashes} in {}, again on a fresh host: {line}",
                scenario.name
            ),
            Some(line) => {
                return Ok(Err(error).context(format!("the host's kernel died again: {line}")));
            }
            None => return Ok(Err(error)),
        }
    }
    unreachable!("the last attempt returns")
}
