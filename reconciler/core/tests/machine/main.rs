//! A state machine over everything that is pure: files, vanishing, admission,
//! plans and their outcomes, on the simulated host. Random histories of what
//! people do and what breaks, one pass of the daemon after each step.
//!
//! `BANGER_SEED` repeats a run; `BANGER_SOAK_STEPS` makes it longer.

#![allow(clippy::unwrap_used, missing_docs)]

mod calm;
mod check;
mod daemon;
mod file;
mod loss;
mod model;
mod operation;
mod random;
mod world;

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::world::World;

const STEPS: u64 = 100_000;
/// Steps after which a history ends, and its host with it.
const LENGTH: u64 = 400;

#[test]
fn random_histories_lose_nothing_and_leak_nothing() {
    let steps = std::env::var("BANGER_SOAK_STEPS").map_or(STEPS, |steps| {
        steps.parse().expect("BANGER_SOAK_STEPS is a number")
    });
    let seed = std::env::var("BANGER_SEED").map_or_else(
        |_| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        },
        |seed| seed.parse().expect("BANGER_SEED is a number"),
    );
    println!("BANGER_SEED={seed}");
    let began = Instant::now();
    let mut done = 0;
    let mut counted = BTreeMap::new();
    while done < steps {
        let mut world = World::new(seed.wrapping_add(done));
        let length = LENGTH.min(steps - done);
        for _ in 0..length {
            world.step();
        }
        world.calm();
        done += length;
        for (what, times) in std::mem::take(&mut world.counted) {
            *counted.entry(what).or_insert(0) += times;
        }
    }
    for what in [
        "pause",
        "resume",
        "create",
        "teardown",
        "demote",
        "stop",
        "replaced disk",
        "failed step",
        "half a step",
        "renewed record",
        "restore",
        "rename",
        "rename taken back",
        "undelete",
        "undelete taken back",
        "database lost",
        "gc",
        "crash",
        "crash while held",
    ] {
        assert!(counted.contains_key(what), "no {what} in {counted:?}");
    }
    println!("{counted:?}");
    println!("{done} steps in {:?}, 0 violations", began.elapsed());
}
