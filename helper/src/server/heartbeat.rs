//! Proof that the helper serves, for systemd's watchdog (sd_watchdog_enabled(3)).
//!
//! `a third of WatchdogSec= -> a client of its own says hello -> answered -> WATCHDOG=1`
//!
//! A timer alone would prove the timer. A hello takes a seat, a connection, the
//! runtime's workers and one of the threads beside them: where one of these is not
//! to be had any more, nobody is served, and nothing is told.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::Failure;
use crate::client::Client;
use crate::failure::blocking;

/// Calls `feed` several times within every `limit` (`WatchdogSec=`), for as long as
/// clients of this socket are served. Never ends.
pub async fn feed(socket: PathBuf, limit: Duration, mut feed: impl FnMut()) {
    let mut ticks = interval((limit / 3).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let socket = socket.clone();
        let hello = move || {
            let greeted = Client::connect(&socket).map(drop);
            greeted.map_err(|e| Failure::later("hello", e.to_string()))
        };
        match blocking("hello", hello).await {
            Ok(()) => feed(),
            Err(failure) => warn!("{failure}: systemd isn't told that clients are served"),
        }
    }
}
