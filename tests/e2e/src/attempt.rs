//! A test on a host whose own kernel may die.

use std::{fs::OpenOptions, io::Write as _};

use anyhow::{Context as _, Result};

use crate::{Lab, TestHost, cache::Cache};

/// A test runs again so often when the host's own kernel died under it.
const CRASH_RETRIES: u32 = 2;

/// What has a host that may die.
pub trait HasHost {
    /// That host.
    fn host(&self) -> &TestHost;
}

impl HasHost for TestHost {
    fn host(&self) -> &TestHost {
        self
    }
}

impl HasHost for Lab {
    fn host(&self) -> &TestHost {
        &self.host
    }
}

/// Runs a test on `first`, or on what `fresh` brings, and at most twice more on
/// a fresh one if it failed *and* the host's own kernel died under it. Every such
/// death is printed, and a line is added to `host-crashes.log` in the cache (but
/// for one asked for by sysrq). What the test says comes back with what it said
/// it of.
///
/// # Errors
/// No host can be had, or a death can't be written down.
pub fn attempt<H: HasHost, T>(
    name: &str,
    mut first: Option<H>,
    fresh: &dyn Fn() -> Result<H>,
    test: &dyn Fn(&mut H) -> Result<T>,
) -> Result<(Result<T>, H)> {
    let mut crashes = 0;
    loop {
        let mut here = match first.take() {
            Some(first) => first,
            None => fresh()?,
        };
        let result = test(&mut here);
        let Err(error) = result else {
            return Ok((result, here));
        };
        let Some(line) = here.host().crashed() else {
            return Ok((Err(error), here));
        };
        crashes += 1;
        record(here.host().cache(), name, &line)?;
        if crashes > CRASH_RETRIES {
            let error = error.context(format!("the host's kernel died again: {line}"));
            return Ok((Err(error), here));
        }
        println!("HOST CRASH {crashes} in {name}, again on a fresh host: {line}");
    }
}

/// Writes a death of a host's kernel down, unless a test asked for it.
fn record(cache: &Cache, name: &str, line: &str) -> Result<()> {
    if line.contains("sysrq triggered crash") {
        return Ok(());
    }
    let path = cache.file("host-crashes.log");
    let log = OpenOptions::new().create(true).append(true).open(&path);
    log.and_then(|mut log| writeln!(log, "{name}: {line}"))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn deaths_are_counted_but_for_those_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        record(
            &cache,
            "one",
            "Kernel panic - not syncing: sysrq triggered crash",
        )
        .unwrap();
        let log = cache.file("host-crashes.log");
        assert!(!log.exists());
        record(&cache, "one", "stack guard page was hit").unwrap();
        record(&cache, "two", "QEMU ended").unwrap();
        let text = std::fs::read_to_string(log).unwrap();
        assert_eq!(text, "one: stack guard page was hit\ntwo: QEMU ended\n");
    }
}
