//! The socket's side: who may speak, what a frame is, which operation it names.

mod connection;
mod dispatch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::Host;

pub use dispatch::answer;

/// Connections that are served at once; the next one waits in the backlog.
const MAX_CONNECTIONS: u32 = 64;
/// How long operations may go on after the order to stop.
const GRACE: Duration = Duration::from_secs(20);

/// Serves until `stop` resolves, then lets what is under way finish.
pub async fn serve(host: Arc<Host>, listener: UnixListener, stop: impl Future<Output = ()>) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let closing = Arc::new(tokio::sync::Notify::new());
    let accept = async {
        loop {
            // The semaphore is never closed.
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (host, closing) = (Arc::clone(&host), Arc::clone(&closing));
                    tokio::spawn(async move {
                        connection::serve(host, stream, &closing).await;
                        drop(seat);
                    });
                }
                Err(e) => {
                    // Out of descriptors, mostly: others must close theirs first.
                    warn!("accept: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
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
