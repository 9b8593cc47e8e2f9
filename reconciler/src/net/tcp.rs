//! One published TCP port: a listener and a copy in both directions for each
//! connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections to one port at once; more wait in the listener's backlog.
const AT_ONCE: usize = 256;
/// How long a guest may take to accept.
const CONNECT: Duration = Duration::from_secs(10);

/// Serves until the task is dropped; its connections end with it.
pub(super) async fn serve(listener: TcpListener, guest: SocketAddr) {
    let seats = Arc::new(Semaphore::new(AT_ONCE));
    let mut connections = JoinSet::new();
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                connections.spawn(async move {
                    join(client, guest).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%guest, %error, "a connection to a published port could not be taken");
                // Out of descriptors, most likely: give others time to close theirs.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn join(mut client: TcpStream, guest: SocketAddr) {
    let Ok(Ok(mut server)) = tokio::time::timeout(CONNECT, TcpStream::connect(guest)).await else {
        return;
    };
    // How a connection ends is the business of its two ends.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
