//! Runs the scenarios on disposable hosts: all of them, or those that are named.

use std::{collections::VecDeque, path::Path, process::ExitCode, sync::Mutex, time::Instant};

use anyhow::{Context as _, Result};
use banger_e2e::{Lab, Options, Scenario, Stages, chaos, decoys, payload, scenarios};
use clap::Parser;

/// A task runs again so often when the host's own kernel died under it.
const CRASH_RETRIES: u32 = 2;

/// The short run of chaos, always the same: chance shall not hold up a change
/// that has nothing to do with it. `chaos` draws, and runs longer.
const KILLS: u32 = 3;
const CUTS: u32 = 1;
const SEED: u64 = 2;

/// Runs the end-to-end scenarios on disposable hosts.
#[derive(Parser)]
struct Arguments {
    /// Only scenarios whose name contains one of these.
    names: Vec<String>,
    /// Lists the names.
    #[arg(long)]
    list: bool,
    /// Hosts at a time. Under software emulation one takes two processors while
    /// guests boot.
    #[arg(long, default_value_t = 1)]
    hosts: usize,
    /// Another run of chaos.
    #[arg(long, env = "BANGER_SEED", default_value_t = SEED)]
    seed: u64,
}

/// What a worker takes from the queue.
#[derive(Clone, Copy)]
enum Task {
    /// On the worker's host as it is.
    Scenario(&'static Scenario),
    /// On a fresh one.
    Chaos(chaos::Measure),
}

impl Task {
    fn name(&self) -> String {
        match self {
            Self::Scenario(scenario) => scenario.name.to_owned(),
            Self::Chaos(measure) => format!("chaos_loses_nothing (seed {})", measure.seed),
        }
    }

    /// `lab` is the worker's, where it has one.
    fn run(&self, lab: &mut Option<Lab>, name: &str, payload: &Path) -> Result<()> {
        let options = || Options {
            payload: Some(payload.to_path_buf()),
            ..Options::default()
        };
        match self {
            Self::Scenario(scenario) => {
                let lab = match lab {
                    Some(lab) => lab,
                    None => lab.insert(Lab::among_decoys(name, options())?),
                };
                // What isn't banger's survives each of them.
                decoys::plant(&lab.host)?;
                (scenario.run)(lab)?;
                decoys::untouched(&lab.host)
            }
            Self::Chaos(measure) => {
                *lab = None;
                chaos::run(lab, name, payload, *measure, &|line| {
                    println!("    chaos: {line}");
                })
            }
        }
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let measure = chaos::Measure {
        kills: KILLS,
        cuts: CUTS,
        seed: arguments.seed,
    };
    // The longest first.
    let tasks =
        std::iter::once(Task::Chaos(measure)).chain(scenarios::ALL.iter().map(Task::Scenario));
    let is_wanted = |task: &Task| {
        let name = task.name();
        let named = arguments.names.iter().any(|it| name.contains(it.as_str()));
        // Chaos takes ten minutes: only by name.
        named || arguments.names.is_empty() && matches!(task, Task::Scenario(_))
    };
    let tasks: VecDeque<Task> = tasks.filter(is_wanted).collect();
    if arguments.list {
        for task in &tasks {
            println!("{}", task.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let hosts = arguments.hosts.clamp(1, tasks.len().max(1));
    let payload = payload::build(Stages::default())?;
    let queue = Mutex::new(tasks);
    let counts = Mutex::new((0, 0));
    std::thread::scope(|scope| {
        for number in 1..=hosts {
            let (queue, counts, payload) = (&queue, &counts, payload.path());
            scope.spawn(move || {
                let name = format!("scenarios-{number}");
                let mut lab = None;
                while let Some(task) = next(queue) {
                    let held = timed(&task, &mut lab, &name, payload);
                    let mut counts = counts.lock().unwrap_or_else(|it| it.into_inner());
                    if held { counts.0 += 1 } else { counts.1 += 1 }
                }
            });
        }
    });
    let (passed, failed) = counts.into_inner().unwrap_or_else(|it| it.into_inner());
    println!("{passed} passed, {failed} failed, 0 skipped");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn next(queue: &Mutex<VecDeque<Task>>) -> Option<Task> {
    let mut queue = queue.lock().unwrap_or_else(|it| it.into_inner());
    queue.pop_front()
}

/// Runs a task and says how it ended; whether it held.
fn timed(task: &Task, lab: &mut Option<Lab>, name: &str, payload: &Path) -> bool {
    let start = Instant::now();
    let result = with_retries(task, lab, name, payload);
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(()) => println!("PASS [{seconds:6.1} s] {}", task.name()),
        // Not `{:?}`: that adds a backtrace, and hides the story.
        Err(ref error) => println!("FAIL [{seconds:6.1} s] {}\n{error:#}", task.name()),
    }
    result.is_ok()
}

fn with_retries(task: &Task, lab: &mut Option<Lab>, name: &str, payload: &Path) -> Result<()> {
    for crashes in 1.. {
        let Err(error) = task.run(lab, name, payload) else {
            return Ok(());
        };
        let Some(line) = lab.as_ref().and_then(|lab| lab.host.crashed()) else {
            return Err(error);
        };
        *lab = None;
        if crashes > CRASH_RETRIES {
            return Err(error).context(format!("the host's kernel died again: {line}"));
        }
        println!(
            "HOST CRASH {crashes} in {}, again on a fresh host: {line}",
            task.name()
        );
    }
    unreachable!("the last attempt returns")
}
