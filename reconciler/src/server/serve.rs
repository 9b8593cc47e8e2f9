//! Accepting connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::listen::Socket;
use super::session::Session;
use crate::controller::Handle;
use crate::sandbox::Landlock;

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 128;
/// Of those, streams: they stay for as long as their clients like, and must
/// leave room for whoever asks one thing and goes.
const STREAMS: usize = 96;

type AskHelper = dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync;

/// What `Version` answers.
#[derive(Clone)]
pub struct Identity {
    /// Whether this daemon runs on the simulated host.
    pub simulated: bool,
    /// The helper's protocol, or why it can't be told.
    pub helper: Arc<AskHelper>,
    /// What confines this daemon.
    pub landlock: Landlock,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(simulated: {})", self.simulated)
    }
}

/// Serves clients until `stop`; streams end with it.
pub async fn serve(socket: Socket, handle: Handle, identity: Identity, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let streams = Arc::new(Semaphore::new(STREAMS));
    let mut sessions = JoinSet::new();
    let own = rustix::process::geteuid().as_raw();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = sessions.join_next() => continue,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        // It is never closed.
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = socket.listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Such as EMFILE: it passes when connections end.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Err(why) = peer(&stream).and_then(|uid| admit(uid, own)) {
            tracing::warn!("a connection was turned away: {why}");
            continue;
        }
        let session = Session::new(handle.clone(), identity.clone(), Arc::clone(&streams));
        sessions.spawn(async move {
            if let Err(error) = session.run(stream).await {
                tracing::debug!("a connection ended early: {error}");
            }
            drop(place);
        });
    }
}

/// The user at the other end, as the kernel saw it connect (SO_PEERCRED).
fn peer(stream: &UnixStream) -> Result<u32, String> {
    let peer = stream.peer_cred();
    let peer = peer.map_err(|error| format!("its user is unknown: {error}"))?;
    Ok(peer.uid())
}

/// Only the daemon's own user and root may speak.
pub(super) fn admit(uid: u32, own: u32) -> Result<(), String> {
    match uid == own || uid == 0 {
        true => Ok(()),
        false => Err(format!("user {uid} is not the owner")),
    }
}
