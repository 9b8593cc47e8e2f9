//! One connection: credentials, then `hello`, then one request at a time.
//!
//! A peer that isn't the owner (or root) is closed before a byte is read. An
//! operation runs as a task of its own: it ends although its peer went away,
//! and its panic is an answer, not the server's end.

use std::sync::Arc;

use banger_protocol::frame;
use banger_protocol::inventory::Probe;
use banger_protocol::version::{CURRENT, IPV6, NETWORK_POLICY, OBSTACLES, TAP_POOL};
use banger_protocol::{Obstacle, OpError, Request, Response, Retry};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

use super::dispatch::answer;
use super::wire::{self, DEADLINE, WireError};
use crate::Host;

/// Serves one connection to its end.
pub(super) async fn serve(host: Arc<Host>, mut stream: UnixStream, closing: &Notify) {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == host.install.owner_uid => {}
        Ok(peer) => {
            warn!(uid = peer.uid(), "refused: not the owner");
            return;
        }
        Err(e) => {
            warn!("refused: SO_PEERCRED: {e}");
            return;
        }
    }
    if let Err(e) = talk(&host, &mut stream, closing).await {
        warn!("connection closed: {e}");
        let refusal = refusal("frame", "read", e.to_string());
        // The peer may be gone; then nobody misses it.
        let _ = wire::write(&mut stream, &refusal).await;
    }
}

async fn talk(
    host: &Arc<Host>,
    stream: &mut UnixStream,
    closing: &Notify,
) -> Result<(), WireError> {
    let Ok(first) = tokio::time::timeout(DEADLINE, wire::read(stream)).await else {
        return Err(WireError::Slow);
    };
    let Some(first) = first? else {
        return Ok(());
    };
    let spoken = match frame::decode(&first.body)? {
        Request::Hello { version } if version.major == CURRENT.major => {
            wire::write(stream, &Response::Hello { version: CURRENT }).await?;
            version
        }
        Request::Hello { version } => {
            let message = format!(
                "the helper speaks protocol {}, the client {}: install both from one version",
                CURRENT.major, version.major
            );
            return wire::write(stream, &refusal("hello", "version", message)).await;
        }
        other => {
            let message = "a connection starts with `hello`".to_owned();
            return wire::write(stream, &refusal(other.op(), "hello", message)).await;
        }
    };
    loop {
        let frame = tokio::select! {
            frame = wire::read(stream) => frame?,
            () = closing.notified() => return Ok(()),
        };
        let Some(frame) = frame else {
            return Ok(());
        };
        let request: Request = frame::decode(&frame.body)?;
        let op = request.op();
        let mut response = if frame.descriptors.len() == request.descriptors() {
            debug!(op, ?request, "request");
            let host = Arc::clone(host);
            supervised(op, async move {
                answer(&host, request, frame.descriptors).await
            })
            .await
        } else {
            let message = format!(
                "{} descriptors came, {} belong to this request",
                frame.descriptors.len(),
                request.descriptors()
            );
            refusal(op, "descriptors", message)
        };
        if let Response::Error { error } = &response {
            match error.retry {
                Retry::Never => warn!(op, "{error}"),
                Retry::Later => info!(op, "{error}"),
            }
        }
        if let Response::Inventory { inventory } = &mut response {
            // An older daemon refuses a section that it doesn't know.
            if spoken.minor < TAP_POOL {
                inventory.pool = None;
            }
            if spoken.minor < NETWORK_POLICY {
                (inventory.policy, inventory.obstacles) = (None, None);
            }
            if spoken.minor < OBSTACLES
                && let Some(Probe::Known(obstacles)) = &mut inventory.obstacles
            {
                obstacles.retain(Obstacle::is_of_old);
            }
            if spoken.minor < IPV6 {
                inventory.ipv6 = None;
                // It can't read such tables. To it they say something else.
                if let Some(Probe::Known(policy)) = &mut inventory.policy {
                    policy.take_if(|it| it.ipv6);
                }
            }
        }
        wire::write(stream, &response).await?;
    }
}

/// Runs an operation as a task of its own; its panic becomes an answer.
async fn supervised(
    op: &'static str,
    operation: impl Future<Output = Response> + Send + 'static,
) -> Response {
    tokio::spawn(operation).await.unwrap_or_else(|e| {
        error!(op, "the operation died: {e}");
        let message = "the operation died; the helper's log has the cause";
        refusal(op, "panic", message.into())
    })
}

fn refusal(op: &str, step: &str, message: String) -> Response {
    Response::Error {
        error: OpError {
            op: op.to_owned(),
            step: step.to_owned(),
            errno: None,
            message,
            retry: Retry::Never,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let Response::Error { error } = supervised("ensure-nat", async { panic!("a bug") }).await
        else {
            panic!("no error");
        };
        assert_eq!(
            (error.op.as_str(), error.step.as_str()),
            ("ensure-nat", "panic")
        );
    }
}
