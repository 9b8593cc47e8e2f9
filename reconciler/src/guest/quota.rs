//! How often a guest may speak: a bucket of tokens, one for each connection.

use std::time::Duration;

use tokio::time::Instant;

/// Connections that may come at once.
const BURST: u32 = 32;
/// One more connection after each of these.
const REFILL: Duration = Duration::from_millis(200);

/// The bucket of one guest.
pub(super) struct Quota {
    tokens: u32,
    refilled: Instant,
}

impl Quota {
    /// A full bucket.
    pub(super) fn full() -> Self {
        Self {
            tokens: BURST,
            refilled: Instant::now(),
        }
    }

    /// Takes a token, waiting for one where there is none.
    pub(super) async fn take(&mut self) {
        let elapsed = self.refilled.elapsed();
        let gained = u32::try_from(elapsed.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(BURST);
            self.refilled = Instant::now();
        }
        if self.tokens == 0 {
            tokio::time::sleep(REFILL).await;
            self.refilled = Instant::now();
        } else {
            self.tokens -= 1;
        }
    }
}
