//! The socket's side: who may speak, what a frame is, which operation it names.

mod connection;
mod dispatch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use crate::Host;

pub use dispatch::answer;

/// Connections that are served at once; the next one waits in the backlog.
const MAX_CONNECTIONS: u32 = 64;
/// How long one waits for a seat before those who sit idle must get up: a client
/// that holds connections for nothing keeps nobody out. Clients connect again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long operations may go on after the order to stop.
const GRACE: Duration = Duration::from_secs(20);

/// Serves until `stop` resolves, then lets what is under way finish.
pub async fn serve(host: Arc<Host>, listener: UnixListener, stop: impl Future<Output = ()>) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let closing = Arc::new(Notify::new());
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
            // The semaphore is never closed.
            let Ok(seat) = seat(&seats, &closing).await else {
                return;
            };
            let (host, closing) = (Arc::clone(&host), Arc::clone(&closing));
            tokio::spawn(async move {
                connection::serve(host, stream, &closing).await;
                drop(seat);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop => {}
    }
    info!("stopping");
    drop(listener);
    let idle = seats.acquire_many(MAX_CONNECTIONS);
    let drained = async {
        tokio::pin!(idle);
        loop {
            // Connections between two requests hear this and close.
            closing.notify_waiters();
            tokio::select! {
                _ = &mut idle => return,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        warn!("operations still under way after {GRACE:?} are cut short");
    }
}

/// A free seat; while there is none, connections between two requests are closed.
async fn seat(
    seats: &Arc<Semaphore>,
    closing: &Notify,
) -> Result<OwnedSemaphorePermit, AcquireError> {
    loop {
        let free = Arc::clone(seats).acquire_owned();
        match tokio::time::timeout(PATIENCE, free).await {
            Ok(seat) => return seat,
            Err(_) => closing.notify_waiters(),
        }
    }
}
