//! Proof that the loop moves on, for systemd's watchdog (sd_watchdog_enabled(3)).
//!
//! ```text
//! loop: every turn, every stage of a pass --stamp--> Heartbeat
//! feed: a third of WatchdogSec= --young enough?--> WATCHDOG=1
//! ```
//!
//! Guarantees: a loop that waits for something that never comes is not kept
//! alive by the timer beside it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// The longest that the loop may wait within one stage of a pass. A call of the
/// helper ends after 45 s, and so does connecting to it before; directories and
/// the database take what the disk takes.
pub(super) const STAGE: Duration = Duration::from_secs(120);
/// A loop that nothing wakes goes round so often.
pub(super) const BEAT: Duration = Duration::from_secs(10);

/// When the loop last moved on. Clones share it.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// A leaf lock: never held across an await.
    last: Arc<Mutex<Instant>>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            last: Arc::new(Mutex::new(Instant::now())),
        }
    }
}

impl Heartbeat {
    /// The loop moved on.
    pub(super) fn stamp(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn age(&self) -> Duration {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.elapsed()
    }

    /// Calls `feed` several times within every `limit` (`WatchdogSec=`), for
    /// as long as the loop moves on. Never ends.
    pub async fn feed(self, limit: Duration, mut feed: impl FnMut()) {
        let mut ticks = interval((limit / 3).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hungry = false;
        loop {
            ticks.tick().await;
            let age = self.age();
            if age <= STAGE {
                hungry = false;
                feed();
            } else if !hungry {
                hungry = true;
                tracing::error!(
                    "the loop has not moved on for {} s: systemd is left to start the daemon \
                     anew; VMs go on running",
                    age.as_secs()
                );
            }
        }
    }
}
