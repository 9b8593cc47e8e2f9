//! A test on a host whose own kernel may die.

use anyhow::Result;

use crate::Lab;

/// A test runs again so often when the host's own kernel died under it.
const CRASH_RETRIES: u32 = 2;

/// Runs a test on `lab`, or on the one that `fresh` brings, and once more on a
/// fresh one each time that the host's own kernel died under it. What the test
/// says comes back with the lab that it said it of.
///
/// # Errors
/// No host can be had.
pub fn attempt(
    name: &str,
    mut lab: Option<Lab>,
    fresh: &dyn Fn() -> Result<Lab>,
    test: &dyn Fn(&mut Lab) -> Result<()>,
) -> Result<(Result<()>, Lab)> {
    let mut crashes = 0;
    loop {
        let mut here = match lab.take() {
            Some(lab) => lab,
            None => fresh()?,
        };
        let Err(error) = test(&mut here) else {
            return Ok((Ok(()), here));
        };
        match here.host.crashed() {
            Some(line) if crashes < CRASH_RETRIES => {
                crashes += 1;
                println!("HOST CRASH {crashes} in {name}, again on a fresh host: {line}");
            }
            Some(line) => {
                let error = error.context(format!("the host's kernel died again: {line}"));
                return Ok((Err(error), here));
            }
            None => return Ok((Err(error), here)),
        }
    }
}
