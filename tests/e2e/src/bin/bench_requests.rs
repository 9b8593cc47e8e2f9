//! Whether requests wait for one another: how long a plain one takes while
//! others keep the same daemon busy, against as many others that keep a second
//! daemon busy. Both take the same processors, so that what is left of the
//! ratio above 1 is waiting inside the daemon. It fails where that is too much.

use std::{
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use banger_e2e::sim::{Daemon, median, time};
use clap::Parser;

/// Measures requests beside others on the simulated host.
#[derive(Parser)]
struct Arguments {
    /// VMs that are admitted, in each of the two daemons.
    #[arg(long, default_value_t = 500)]
    vms: u32,
    /// Clients that ask for one preview after the other.
    #[arg(long, default_value_t = 4)]
    busy: u32,
    /// Clients that watch all VMs.
    #[arg(long, default_value_t = 60)]
    watching: u32,
    /// Measured runs of each kind.
    #[arg(long, default_value_t = 40)]
    runs: usize,
    /// Fail where a request takes more than so many times what it takes beside
    /// the other daemon.
    #[arg(long, default_value_t = 3.0)]
    at_most: f64,
}

/// What is measured: a question, and a change that is durable when it is answered.
const REQUESTS: [(&str, &[&str]); 2] = [
    ("get", &["get", "vm", "vm-1", "-o", "name"]),
    ("vm start", &["vm", "start", "vm-1", "--wait=false"]),
];

/// Clients that watch; ended with their handle.
struct Watching(Vec<Child>);

impl Watching {
    fn start(daemon: &Daemon, clients: u32) -> Result<Self> {
        let watch = |_| {
            let mut command = daemon.banger(&["get", "vms", "-w"]);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.spawn().context("cannot run banger")
        };
        Ok(Self((0..clients).map(watch).collect::<Result<_>>()?))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (measured, other) = (
        Daemon::with_vms(arguments.vms)?,
        Daemon::with_vms(arguments.vms)?,
    );
    println!("{} VMs Ready in each of two daemons", arguments.vms);
    let alone = measure(&measured, arguments.runs)?;
    let elsewhere = beside(&measured, &other, &arguments)?;
    let here = beside(&measured, &measured, &arguments)?;
    let mut waiting = Vec::new();
    for (n, (name, _)) in REQUESTS.iter().enumerate() {
        let ms = |times: &[Duration]| times[n].as_secs_f64() * 1000.0;
        let ratio = ms(&here) / ms(&elsewhere);
        if ratio > arguments.at_most {
            waiting.push(*name);
        }
        println!(
            "banger {name}: alone {:.1} ms; {} previews and {} watchers at another daemon {:.1} ms, \
             at the same daemon {:.1} ms; ratio {ratio:.2}",
            ms(&alone),
            arguments.busy,
            arguments.watching,
            ms(&elsewhere),
            ms(&here),
        );
    }
    ensure!(
        waiting.is_empty(),
        "beside others at the same daemon {} took more than {} times as long as beside another's",
        waiting.join(" and "),
        arguments.at_most
    );
    Ok(())
}

/// The medians, in the order of [`REQUESTS`].
fn measure(daemon: &Daemon, runs: usize) -> Result<Vec<Duration>> {
    let mut times = vec![Vec::new(); REQUESTS.len()];
    for _ in 0..runs {
        for (request, times) in REQUESTS.iter().zip(&mut times) {
            times.push(time(&mut daemon.banger(request.1), 0)?.0);
        }
    }
    Ok(times.iter_mut().map(|times| median(times)).collect())
}

/// As [`measure`], while clients keep a daemon busy.
fn beside(measured: &Daemon, busy: &Daemon, arguments: &Arguments) -> Result<Vec<Duration>> {
    let _watching = Watching::start(busy, arguments.watching)?;
    let (over, previews) = (AtomicBool::new(false), AtomicU32::new(0));
    let medians = thread::scope(|scope| {
        for _ in 0..arguments.busy {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // No difference.
                    if time(&mut busy.banger(&["diff"]), 0).is_ok() {
                        previews.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let medians = measure(measured, arguments.runs);
        over.store(true, Ordering::Relaxed);
        medians
    })?;
    let previews = previews.load(Ordering::Relaxed);
    ensure!(
        previews >= arguments.busy,
        "only {previews} previews were made"
    );
    Ok(medians)
}
