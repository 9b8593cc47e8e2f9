//! Every request of the service to the helper fails, is lost with the helper, or
//! is the last that the daemon does: before it is carried out, and after.
//!
//! ```text
//! dry life -> its requests, counted -> each request x fault x (before, after) -> the same end
//! ```
//!
//! The requests aren't listed: one that is new is struck, too.

use std::collections::BTreeSet;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use banger_core::config::Dns;
use hickory_proto::op::ResponseCode;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::helper::{Fault, Helper, Strike, When, install, published};
use super::*;
use crate::controller::Published;
use crate::net::dns::Service;

/// Far more than the pauses after one failure take together.
const LIMIT: Duration = Duration::from_secs(60);
/// For one answer, where there may be no server.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a daemon runs.
struct Daemon {
    running: JoinHandle<()>,
    stop: CancellationToken,
}

/// A VM comes, is found by its name, and the daemon stops; where that one dies
/// another begins. What the helper was asked.
async fn live(strike: Option<Strike>) -> Vec<&'static str> {
    let (helper, mut dies) = Helper::start(strike);
    let dir = tempfile::tempdir().unwrap();
    let resolved = dir.path().join("resolved.sock");
    let _listener = UnixListener::bind(&resolved).unwrap();
    let (status, receiver) = watch::channel(published("Stopped"));
    let lives = async {
        loop {
            let socket = helper.socket();
            let service = Service::new(&Dns::default(), &install(), None, socket, receiver.clone());
            let stop = CancellationToken::new();
            let service = service.with_resolved(resolved.clone()).run(stop.clone());
            let running = tokio::spawn(service);
            let mut daemon = Daemon { running, stop };
            tokio::select! {
                () = use_it(&mut daemon, &helper, &status) => break,
                Some(()) = dies.recv() => {
                    daemon.running.abort();
                    assert!(daemon.running.await.unwrap_err().is_cancelled());
                }
            }
        }
    };
    let ended = timeout(LIMIT, lives).await;
    ended.unwrap_or_else(|_| panic!("{strike:?}: {:?}", helper.heard()));
    assert!(!helper.is_told(), "{strike:?}: a dead server is asked");
    free(helper.address().await).await;
    helper.heard()
}

async fn use_it(daemon: &mut Daemon, helper: &Helper, status: &watch::Sender<Arc<Published>>) {
    let address = helper.address().await;
    status.send_replace(published("Ready"));
    let client = UdpSocket::bind((GUEST, 0)).await.unwrap();
    client.connect(address).await.unwrap();
    until_answered(&client).await;
    helper.confirmed().await;
    assert!(helper.is_told());
    daemon.stop.cancel();
    (&mut daemon.running).await.unwrap();
}

async fn until_answered(client: &UdpSocket) {
    let asked = bytes(&query("web.vm.", RecordType::A));
    let mut buffer = [0; 4096];
    loop {
        // A server that isn't there is an error of either.
        let _ = client.send(&asked).await;
        match timeout(PATIENCE, client.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                let answer = read(&buffer[..length]);
                if answer.metadata.response_code == ResponseCode::NoError {
                    return;
                }
            }
            // Nothing tells when somebody listens, and this is said at once.
            Ok(Err(_)) => tokio::time::sleep(PATIENCE).await,
            Err(_) => {}
        }
    }
}

/// Sockets of a task that was aborted close once it is looked at again.
async fn free(address: SocketAddr) {
    for _ in 0..100 {
        let bound = (
            UdpSocket::bind(address).await,
            TcpListener::bind(address).await,
        );
        match bound {
            (Ok(_), Ok(_)) => return,
            _ => tokio::task::yield_now().await,
        }
    }
    panic!("{address} is still taken");
}

#[tokio::test]
async fn whatever_fails_names_are_answered_and_taken_back() {
    let requests = live(None).await;
    let kinds: BTreeSet<_> = requests.iter().copied().collect();
    let all = ["ensure-dns", "ensure-resolver", "remove-resolver"];
    assert_eq!(kinds, all.into(), "{requests:?}");
    let mut lives = JoinSet::new();
    for at in 0..requests.len() {
        for fault in [Fault::Error, Fault::Hangup, Fault::Death] {
            for when in [When::Before, When::After] {
                let strike = Strike { at, fault, when };
                lives.spawn(async move { (strike, live(Some(strike)).await) });
            }
        }
    }
    while let Some(lived) = lives.join_next().await {
        let (strike, heard) = lived.unwrap();
        // It was struck, and whatever it was for was asked again.
        let same = &requests[..=strike.at];
        assert_eq!(&heard[..=strike.at], same, "{strike:?}");
        let op = requests[strike.at];
        let asked = heard.iter().filter(|other| **other == op).count();
        assert!(asked > 1, "{strike:?}: {heard:?}");
    }
}
