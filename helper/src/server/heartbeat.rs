//! Proof that the helper serves, for systemd's watchdog (sd_watchdog_enabled(3)).
//!
//! `a third of WatchdogSec= -> a client of its own says hello -> answered -> WATCHDOG=1`
//!
//! A timer alone would prove the timer. A hello takes a seat, a connection and the
//! runtime's workers, and before it one of the threads beside them is taken: where one
//! of these is not to be had any more, nobody is served, and nothing is told.
//!
//! Guarantees: it keeps no thread, so that whoever ends it waits for no answer. A hello
//! that a stopping helper doesn't accept any more is never answered: systemd keeps the
//! socket, and with it the connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use banger_protocol::frame::{self, HEADER, MAX_REQUEST, MAX_RESPONSE};
use banger_protocol::version::CURRENT;
use banger_protocol::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::client::ClientError;
use crate::failure::blocking;

/// Calls `feed` several times within every `limit` (`WatchdogSec=`), for as long as
/// clients of this socket are served. Never ends.
pub async fn feed(socket: PathBuf, limit: Duration, mut feed: impl FnMut()) {
    let mut ticks = interval((limit / 3).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let told = "systemd isn't told that clients are served";
        if let Err(failure) = blocking("hello", || Ok(())).await {
            warn!("{failure}: {told}");
            continue;
        }
        match greeted(&socket).await {
            Ok(()) => feed(),
            Err(error) => warn!("{error}: {told}"),
        }
    }
}

async fn greeted(socket: &Path) -> Result<(), ClientError> {
    let mut stream = UnixStream::connect(socket).await?;
    let hello = Request::Hello { version: CURRENT };
    stream
        .write_all(&frame::encode(&hello, MAX_REQUEST)?)
        .await?;
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    let mut body = vec![0; frame::body_length(header, MAX_RESPONSE)?];
    stream.read_exact(&mut body).await?;
    match frame::decode(&body)? {
        Response::Hello { .. } => Ok(()),
        other => Err(ClientError::Hello(Box::new(other))),
    }
}
