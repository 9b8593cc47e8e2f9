//! Runs the scenarios on the disposable host, and a short chaos beside them: all
//! of it, or what is named.

use std::{
    panic::resume_unwind,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Instant, SystemTime},
};

use anyhow::{Result, ensure};
use banger_e2e::{
    Interrupts, Lab, Options, SavedLab, Scenario, Stages, attempt, chaos, decoys, payload,
    scenarios,
};
use clap::Parser;

/// Always the same sequence, so that a change of the code is what a change of
/// the outcome comes from; `make chaos` and `make soak` draw others.
const CHAOS: chaos::Measure = chaos::Measure {
    kills: 10,
    cuts: 1,
    seed: 2,
};

/// Runs the end-to-end scenarios on the disposable host.
#[derive(Parser)]
struct Arguments {
    /// Only those whose name contains one of these.
    names: Vec<String>,
    /// How many hosts run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// None is begun after this second since the Unix epoch: those that are left
    /// are skipped, by name. For who is stopped at some hour, as CI is.
    #[arg(long, env = "BANGER_E2E_UNTIL", value_name = "SECONDS")]
    until: Option<u64>,
    /// Lists the names.
    #[arg(long)]
    list: bool,
}

/// What a worker takes from the queue.
enum Job {
    /// It takes longest, on a host of its own: so it is the first.
    Chaos,
    Scenario(&'static Scenario),
}

impl Job {
    fn all() -> impl Iterator<Item = Self> {
        [Self::Chaos]
            .into_iter()
            .chain(scenarios::ALL.iter().map(Self::Scenario))
    }

    fn name(&self) -> String {
        match self {
            Self::Chaos => CHAOS.to_string(),
            Self::Scenario(scenario) => scenario.name.to_owned(),
        }
    }

    fn is_chosen(&self, names: &[String]) -> bool {
        let own = self.name();
        names.is_empty() || names.iter().any(|name| own.contains(name.as_str()))
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let chosen: Vec<Job> = Job::all()
        .filter(|job| job.is_chosen(&arguments.names))
        .collect();
    if arguments.list {
        for job in &chosen {
            println!("{}", job.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    // Or a signal would leave root's mmdebstrap behind.
    let interrupts = Interrupts::hold()?;
    let payload = payload::build(Stages::default())?;
    let saved = SavedLab::of(payload.path())?;
    let next = AtomicUsize::new(0);
    let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
        let work = |number| {
            let (chosen, next, saved, interrupts) = (&chosen, &next, &saved, &interrupts);
            let worker = Worker {
                saved,
                number,
                interrupts,
                lab: None,
            };
            scope.spawn(move || take_turns(chosen, next, arguments.until, worker))
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
        sum.skipped += tally.skipped;
    }
    println!(
        "{} passed, {} failed, {} skipped",
        sum.passed, sum.failed, sum.skipped
    );
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
    skipped: u32,
}

fn is_past(until: u64) -> bool {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .is_ok_and(|now| now.as_secs() >= until)
}

fn take_turns(
    chosen: &[Job],
    next: &AtomicUsize,
    until: Option<u64>,
    mut worker: Worker<'_>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    while let Some(job) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
        if until.is_some_and(is_past) {
            tally.skipped += 1;
            println!(
                "SKIPPED {}: the time that BANGER_E2E_UNTIL gives is over; `make smoke` has no end",
                job.name()
            );
            continue;
        }
        ensure!(!worker.interrupts.came()?, "interrupted");
        let start = Instant::now();
        let result = worker.run(job)?;
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                tally.passed += 1;
                println!("PASS [{seconds:6.1} s] {}", job.name());
            }
            Err(error) => {
                tally.failed += 1;
                // Not `{:?}`: that adds a backtrace, and hides the story.
                println!("FAIL [{seconds:6.1} s] {}\n{error:#}", job.name());
            }
        }
    }
    Ok(tally)
}

/// One host after another.
struct Worker<'a> {
    saved: &'a SavedLab,
    number: usize,
    interrupts: &'a Interrupts,
    /// A lab that is as it was saved.
    lab: Option<Lab>,
}

impl Worker<'_> {
    /// The inner result is the job's; the outer one says that no host can be had.
    fn run(&mut self, job: &Job) -> Result<Result<()>> {
        match job {
            Job::Chaos => self.chaos(),
            Job::Scenario(scenario) => self.scenario(scenario),
        }
    }

    fn chaos(&self) -> Result<Result<()>> {
        let start = Instant::now();
        let say = |line: &str| println!("    {:7.1} s {line}", start.elapsed().as_secs_f64());
        let fresh = || self.saved.resume("scenarios-chaos", chaos::options());
        let test = |lab: &mut Lab| chaos::run(lab, CHAOS, &say);
        Ok(attempt(&CHAOS.to_string(), None, &fresh, &test)?.0)
    }

    fn scenario(&mut self, scenario: &Scenario) -> Result<Result<()>> {
        let name = format!("scenarios-{}", self.number);
        let fresh = || self.saved.resume(&name, Options::default());
        let test = |lab: &mut Lab| {
            (scenario.run)(lab)?;
            // What isn't banger's survives each of them.
            decoys::untouched(&lab.host)
        };
        let (result, lab) = attempt(scenario.name, self.lab.take(), &fresh, &test)?;
        // Whoever comes next gets the lab if it is as it was, else another one.
        if result.is_ok() && lab.state().is_ok_and(|state| state == self.saved.state) {
            self.lab = Some(lab);
        }
        Ok(result)
    }
}
