//! Runs the scenarios on the disposable host: all of them, or those that are named.

use std::{process::ExitCode, time::Instant};

use anyhow::{Context as _, Result};
use banger_e2e::{Lab, Options, Scenario, Stages, decoys, payload, scenarios};
use clap::Parser;

/// A scenario runs again so often when the host's own kernel died under it.
const CRASH_RETRIES: u32 = 2;

/// Runs the end-to-end scenarios on the disposable host.
#[derive(Parser)]
struct Arguments {
    /// Only scenarios whose name contains one of these.
    names: Vec<String>,
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
    let up = || {
        let options = Options {
            payload: Some(payload.path().to_path_buf()),
            ..Options::default()
        };
        Lab::among_decoys("scenarios", options)
    };
    let mut lab = Some(up()?);
    let (mut passed, mut failed) = (0, 0);
    for scenario in &chosen {
        let start = Instant::now();
        let result = with_retries(&mut lab, up, scenario)?;
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                passed += 1;
                println!("PASS [{seconds:6.1} s] {}", scenario.name);
            }
            Err(error) => {
                failed += 1;
                // Not `{:?}`: that adds a backtrace, and hides the story.
                println!("FAIL [{seconds:6.1} s] {}\n{error:#}", scenario.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The inner result is the scenario's; the outer one says that no host can be had.
fn with_retries(
    lab: &mut Option<Lab>,
    up: impl Fn() -> Result<Lab>,
    scenario: &Scenario,
) -> Result<Result<()>> {
    for crashes in 1.. {
        let here = match lab.take() {
            Some(here) => lab.insert(here),
            None => lab.insert(up()?),
        };
        // What isn't banger's survives each of them.
        let result = decoys::plant(&here.host)
            .and_then(|()| (scenario.run)(here))
            .and_then(|()| decoys::untouched(&here.host));
        let Err(error) = result else {
            return Ok(Ok(()));
        };
        match here.host.crashed() {
            Some(line) if crashes <= CRASH_RETRIES => {
                println!(
                    "HOST CRASH {crashes} in {}, again on a fresh host: {line}",
                    scenario.name
                );
                *lab = None;
            }
            Some(line) => {
                *lab = None;
                return Ok(Err(error).context(format!("the host's kernel died again: {line}")));
            }
            None => return Ok(Err(error)),
        }
    }
    unreachable!("the last attempt returns")
}
