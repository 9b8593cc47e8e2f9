//! The tap pool, filled beside everything else: no VM waits for it, and it
//! fails for itself alone.

use std::sync::Arc;
use std::time::Duration;

use banger_core::plan::Plan;
use banger_core::seam::Host;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::board::chain_of;
use super::run::Controller;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// At most one warm-up at a time.
#[derive(Debug, Default)]
pub(super) struct WarmUp {
    pub(super) task: JoinSet<bool>,
    /// Since the pool was last as it should be.
    tries: u32,
    not_before: Option<Instant>,
}

impl<H: Host> Controller<H> {
    /// Begins a warm-up if the plan asks for one. Answers when to look again,
    /// if that is to wait.
    pub(super) fn warm_up(&mut self, plan: &Plan) -> Option<Duration> {
        let warm_up = &mut self.warm_up;
        let Some(step) = plan.pool.clone() else {
            (warm_up.tries, warm_up.not_before) = (0, None);
            return None;
        };
        if !warm_up.task.is_empty() {
            return None;
        }
        let now = Instant::now();
        if let Some(until) = warm_up.not_before.filter(|until| *until > now) {
            return Some(until - now);
        }
        let host = Arc::clone(&self.host);
        warm_up.task.spawn(async move {
            let done = host.host_step(&step).await;
            if let Err(error) = &done {
                tracing::warn!("the tap pool is not as wanted: {}", chain_of(error));
            }
            done.is_ok()
        });
        None
    }

    /// A warm-up is over. What failed, or had no effect, is tried again ever later.
    pub(super) fn warm_up_over(&mut self, end: Result<bool, JoinError>) {
        let warm_up = &mut self.warm_up;
        let good = end.unwrap_or(false);
        let tries = warm_up.tries;
        warm_up.tries = tries.saturating_add(1);
        let pause = Duration::from_secs(1 << tries.min(6)).min(LONGEST_PAUSE);
        warm_up.not_before = (!good || tries > 0).then(|| Instant::now() + pause);
    }
}
