//! One connection: credentials, then `hello`, then one request at a time.
//!
//! A peer that isn't the owner (or root) is closed before a byte is read. An
//! operation runs as a task of its own: it ends although its peer went away,
//! and its panic is an answer, not the server's end.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use banger_protocol::frame;
use banger_protocol::inventory::Probe;
use banger_protocol::version::{CURRENT, EXECUTABLE, HOST_OUTPUT, IPV6, NETWORK_POLICY, TAP_POOL};
use banger_protocol::{Inventory, OpError, Request, Response, Retry, VmUid};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use super::dispatch::answer;
use super::lanes::Lanes;
use super::seats::Seat;
use super::wire::{self, DEADLINE, Frame, WireError};
use crate::Host;

/// Serves one connection to its end.
pub(super) async fn serve(host: Arc<Host>, lanes: Arc<Lanes>, mut stream: UnixStream, seat: Seat) {
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
    let mut client = Client { host, lanes, seat };
    if let Err(e) = client.talk(&mut stream).await {
        warn!("connection closed: {e}");
        let refusal = refusal("frame", "read", e.to_string());
        // The peer may be gone; then nobody misses it.
        let _ = client.write(&mut stream, &refusal).await;
    }
}

/// Who speaks here. Whatever it awaits beside an operation under way ends as
/// soon as it is asked to make room.
struct Client {
    host: Arc<Host>,
    lanes: Arc<Lanes>,
    seat: Seat,
}

impl Client {
    async fn talk(&mut self, stream: &mut UnixStream) -> Result<(), WireError> {
        let Ok(first) = tokio::time::timeout(DEADLINE, self.read(stream)).await else {
            return Err(WireError::Slow);
        };
        let Some(first) = first? else {
            return Ok(());
        };
        let spoken = match frame::decode(&first.body)? {
            Request::Hello { version } if version.major == CURRENT.major => {
                let hello = Response::Hello { version: CURRENT };
                self.write(stream, &hello).await?;
                version
            }
            Request::Hello { version } => {
                let message = format!(
                    "the helper speaks protocol {}, the client {}: install both from one version",
                    CURRENT.major, version.major
                );
                return self
                    .write(stream, &refusal("hello", "version", message))
                    .await;
            }
            other => {
                let message = "a connection starts with `hello`".to_owned();
                return self
                    .write(stream, &refusal(other.op(), "hello", message))
                    .await;
            }
        };
        while let Some(frame) = self.read(stream).await? {
            let request: Request = frame::decode(&frame.body)?;
            let mut response = if frame.descriptors.len() == request.descriptors() {
                self.operate(stream, request, frame.descriptors).await
            } else {
                let message = format!(
                    "{} descriptors came, {} belong to this request",
                    frame.descriptors.len(),
                    request.descriptors()
                );
                let refusal = refusal(request.op(), "descriptors", message);
                tell(request.op(), None, &refusal);
                refusal
            };
            if let Response::Inventory { inventory } = &mut response {
                leave_out(inventory, spoken.minor);
            }
            self.write(stream, &response).await?;
        }
        Ok(())
    }

    /// The next frame; `None` at the end, and where another needs the seat.
    async fn read(&self, stream: &UnixStream) -> Result<Option<Frame>, WireError> {
        tokio::select! {
            biased;
            frame = wire::read(stream) => frame,
            () = self.seat.asked() => Ok(None),
        }
    }

    /// What fits into the socket's buffer is written in any case.
    async fn write(&self, stream: &mut UnixStream, response: &Response) -> Result<(), WireError> {
        tokio::select! {
            biased;
            written = wire::write(stream, response) => written,
            () = self.seat.asked() => Ok(()),
        }
    }

    /// Runs the operation once it has its turn. What isn't begun yet ends with its peer.
    async fn operate(
        &mut self,
        stream: &UnixStream,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Response {
        let (op, vm) = (request.op(), request.vm());
        debug!(op, ?request, "request");
        let host = Arc::clone(&self.host);
        let turn = tokio::select! {
            biased;
            turn = self.lanes.turn(&host, &request) => turn,
            () = self.seat.asked() => return needed(op),
            () = wire::gone(stream) => return needed(op),
        };
        if !self.seat.busy() {
            return needed(op);
        }
        let response = supervised(op, async move {
            let response = answer(&host, request, descriptors).await;
            drop(turn);
            response
        });
        let response = response.await;
        self.seat.idle();
        tell(op, vm, &response);
        response
    }
}

/// The line of an operation that changed something, or failed.
fn tell(op: &'static str, vm: Option<VmUid>, response: &Response) {
    let vm = vm.as_ref().map(tracing::field::display);
    match response {
        Response::Changed { .. } => info!(op, vm, "changed"),
        Response::Error { error } => {
            let stage = error.step.as_str();
            match error.retry {
                Retry::Never => warn!(op, vm, stage, "{error}"),
                Retry::Later => info!(op, vm, stage, "{error}"),
            }
        }
        _ => {}
    }
}

/// An older daemon refuses a section that it doesn't know.
fn leave_out(inventory: &mut Inventory, minor: u16) {
    if minor < TAP_POOL {
        inventory.pool = None;
    }
    if minor < NETWORK_POLICY {
        (inventory.policy, inventory.obstacles) = (None, None);
    }
    if let Some(Probe::Known(obstacles)) = &mut inventory.obstacles {
        obstacles.retain(|obstacle| obstacle.is_known_to(minor));
    }
    if minor < EXECUTABLE
        && let Probe::Known(vmms) = &mut inventory.vmms
    {
        vmms.iter_mut().for_each(|vmm| vmm.executable = None);
    }
    if minor < HOST_OUTPUT {
        inventory.legacy_tables = None;
    }
    if minor < IPV6 {
        inventory.ipv6 = None;
        // It can't read such tables. To it they say something else.
        if let Some(Probe::Known(policy)) = &mut inventory.policy {
            policy.take_if(|it| it.ipv6);
        }
    }
}

/// Runs an operation as a task of its own; its panic becomes an answer. The
/// operation ends with this future.
async fn supervised(
    op: &'static str,
    operation: impl Future<Output = Response> + Send + 'static,
) -> Response {
    let mut task = JoinSet::new();
    task.spawn(operation);
    let died = |e: &dyn std::fmt::Display| {
        error!(op, "the operation died: {e}");
        let message = "the operation died; the helper's log has the cause";
        refusal(op, "panic", message.into())
    };
    match task.join_next().await {
        Some(ended) => ended.unwrap_or_else(|e| died(&e)),
        None => died(&"it was never there"),
    }
}

/// The answer to a request that wasn't begun.
fn needed(op: &str) -> Response {
    Response::Error {
        error: OpError {
            op: op.to_owned(),
            step: "seat".to_owned(),
            errno: None,
            message: "too many are connected, and others wait: ask again".to_owned(),
            retry: Retry::Later,
        },
    }
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
    use std::io::Seek;

    use super::*;

    #[test]
    fn a_line_of_the_log_has_operation_vm_and_stage() {
        let log = tempfile::tempfile().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(log.try_clone().unwrap())
            .finish();
        let vm: VmUid = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f".parse().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let handle = banger_protocol::Handle::None;
            tell("remove-dm", Some(vm), &Response::Changed { handle });
            tell(
                "ensure-nat",
                None,
                &refusal("ensure-nat", "slot", "no".into()),
            );
        });
        (&log).rewind().unwrap();
        let text = std::io::read_to_string(&log).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("op=\"remove-dm\""), "{text}");
        assert!(lines[0].contains(&format!("vm={vm}")), "{text}");
        assert!(lines[1].contains("stage=\"slot\""), "{text}");
        assert!(!lines[1].contains("vm="), "{text}");
    }

    /// Each daemon refuses what is newer than itself.
    #[test]
    fn what_a_daemon_does_not_know_is_left_out() {
        let obstacle = |way: &str, family: &str| {
            format!(
                r#"{{"firewall":"other","way":"{way}","family":"{family}","bridge":"b","table":"t","chain":"c","rule":null}}"#
            )
        };
        let told = [
            obstacle("out", "ipv4"),
            obstacle("out", "ipv6"),
            obstacle("host", "ipv4"),
            obstacle("guest", "ipv4"),
        ];
        let text = format!(
            r#"{{"bootId":"b","vmms":{{"known":[]}},"taps":{{"known":[]}},"loops":{{"known":[]}},"dms":{{"known":[]}},"bridge":{{"known":true}},"nat":{{"known":null}},"pool":{{"unknown":""}},"obstacles":{{"known":[{}]}},"ipv6":{{"known":"off"}},"legacyTables":{{"known":["ip filter"]}}}}"#,
            told.join(",")
        );
        let whole: Inventory = serde_json::from_str(&text).unwrap();
        let known = |minor: u16| {
            let mut inventory = whole.clone();
            leave_out(&mut inventory, minor);
            let obstacles = match &inventory.obstacles {
                Some(Probe::Known(obstacles)) => obstacles.len(),
                _ => 0,
            };
            (
                inventory.pool.is_some(),
                obstacles,
                inventory.ipv6.is_some(),
                inventory.legacy_tables.is_some(),
            )
        };
        assert_eq!(known(0), (false, 0, false, false));
        assert_eq!(known(1), (true, 0, false, false));
        assert_eq!(known(2), (true, 1, false, false));
        assert_eq!(known(3), (true, 1, true, false));
        assert_eq!(known(4), (true, 3, true, false));
        assert_eq!(known(5), (true, 4, true, true));
        assert_eq!(known(CURRENT.minor + 1), known(CURRENT.minor));
    }

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
