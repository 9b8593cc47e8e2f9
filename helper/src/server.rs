//! The socket's side: who may speak, what a frame is, which operation it names.

mod connection;
mod dispatch;
mod heartbeat;
mod lanes;
mod seats;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tracing::{info, warn};

use self::lanes::Lanes;
use self::seats::Seats;
use crate::Host;

pub use heartbeat::feed;

/// Connections at once; the next one waits in the backlog until another makes
/// room. With three descriptors each they stay below the unit's `LimitNOFILE=`.
const MAX_CONNECTIONS: usize = 512;
/// How long operations may go on after the order to stop.
const GRACE: Duration = Duration::from_secs(20);

/// Serves until `stop` resolves, then lets what is under way finish.
pub async fn serve(host: Arc<Host>, listener: UnixListener, stop: impl Future<Output = ()>) {
    let seats = Seats::new(MAX_CONNECTIONS);
    let lanes = Arc::new(Lanes::default());
    let accept = async {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // Out of descriptors, mostly: others must close theirs first.
                    warn!("accept: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let seat = seats.take().await;
            let (host, lanes) = (Arc::clone(&host), Arc::clone(&lanes));
            tokio::spawn(connection::serve(host, lanes, stream, seat));
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop => {}
    }
    info!("stopping");
    drop(listener);
    seats.close();
    if tokio::time::timeout(GRACE, seats.empty()).await.is_err() {
        warn!("operations still under way after {GRACE:?} are cut short");
    }
}
