//! Against a helper that is a thread with a real socket.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use banger_protocol::{
    DiskRole, Handle, Inventory, LoopNumber, NetworkPolicy, OpError, PoolSize, Request, Response,
    Retry, Version, VmUid, WarmUps, frame,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::{HelperClient, HelperError};

const UID: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f";

fn uid() -> VmUid {
    UID.parse().unwrap()
}

/// Reads one request and the text of the files behind its descriptors.
fn receive(stream: &mut UnixStream) -> Option<(Request, Vec<String>)> {
    let mut header = [0; frame::HEADER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut header)];
    let received =
        rustix::net::recvmsg(&*stream, &mut parts, &mut control, RecvFlags::WAITALL).unwrap();
    if received.bytes < frame::HEADER {
        return None;
    }
    let texts = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .map(|fd: OwnedFd| std::io::read_to_string(File::from(fd)).unwrap())
        .collect();
    let mut body = vec![0; frame::body_length(header, frame::MAX_REQUEST).unwrap()];
    stream.read_exact(&mut body).unwrap();
    Some((frame::decode(&body).unwrap(), texts))
}

fn respond(stream: &mut UnixStream, response: &Response) {
    let bytes = frame::encode(response, frame::MAX_RESPONSE).unwrap();
    stream.write_all(&bytes).unwrap();
}

type Seen = Receiver<(Request, Vec<String>)>;

/// Serves connections one after another, each until its client hangs up or
/// `per_connection` requests were answered; what it reads goes into the channel.
fn serve(path: PathBuf, version: Version, per_connection: usize, answer: Response) -> Seen {
    let listener = UnixListener::bind(path).unwrap();
    let (seen, read): (Sender<_>, _) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            receive(&mut stream).unwrap();
            respond(&mut stream, &Response::Hello { version });
            for _ in 0..per_connection {
                let Some(request) = receive(&mut stream) else {
                    break;
                };
                respond(&mut stream, &answer);
                if seen.send(request).is_err() {
                    return;
                }
            }
        }
    });
    read
}

fn ours() -> Version {
    banger_protocol::version::CURRENT
}

fn attach() -> Request {
    Request::EnsureLoop {
        uid: uid(),
        role: DiskRole::Cow,
    }
}

fn file(dir: &Path, text: &str) -> OwnedFd {
    let path = dir.join("disk");
    std::fs::write(&path, text).unwrap();
    File::open(path).unwrap().into()
}

#[tokio::test]
async fn descriptors_arrive_with_their_request() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("helper.sock");
    let handle = Handle::Loop(LoopNumber(7));
    let answer = Response::Changed {
        handle: handle.clone(),
    };
    let seen = serve(socket.clone(), ours(), 9, answer);
    let client = HelperClient::new(&socket);
    let got = client
        .ensure(attach(), vec![file(dir.path(), "the disk")])
        .await
        .unwrap();
    assert_eq!(got, handle);
    assert_eq!(
        seen.recv().unwrap(),
        (attach(), vec!["the disk".to_owned()])
    );
}

#[tokio::test]
async fn a_restarted_helper_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("helper.sock");
    let answer = Response::Unchanged {
        handle: Handle::None,
    };
    // Every connection ends after one answer, as with a helper that restarts.
    let seen = serve(socket.clone(), ours(), 1, answer);
    let client = HelperClient::new(&socket);
    for _ in 0..3 {
        client
            .ensure(attach(), vec![file(dir.path(), "again")])
            .await
            .unwrap();
        assert_eq!(seen.recv().unwrap().1, ["again"]);
    }
}

#[tokio::test]
async fn a_helper_that_is_not_there_is_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let client = HelperClient::new(dir.path().join("none.sock"));
    let error = client.inventory().await.unwrap_err();
    assert!(matches!(error, HelperError::Unreachable(_)));
    let step: banger_core::seam::StepError = error.into();
    assert!(step.retry);
    assert!(step.remedy.unwrap().contains("banger-helper.socket"));
    assert!(step.message.contains("No such file"), "{}", step.message);
}

#[tokio::test]
async fn another_major_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("helper.sock");
    let newer = Version {
        major: ours().major + 1,
        minor: 0,
    };
    let answer = Response::Unchanged {
        handle: Handle::None,
    };
    let _seen = serve(socket.clone(), newer, 1, answer);
    let error = HelperClient::new(&socket).inventory().await.unwrap_err();
    assert!(matches!(error, HelperError::OtherVersion(v) if v == newer));
    assert!(!error.may_pass());
}

#[tokio::test]
async fn a_helper_of_another_minor_version_is_told_as_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("helper.sock");
    let older = Version {
        minor: ours().minor - 1,
        ..ours()
    };
    let answer = Response::Unchanged {
        handle: Handle::None,
    };
    let _seen = serve(socket.clone(), older, 1, answer);
    assert_eq!(HelperClient::new(&socket).hello().await.unwrap(), older);
}

#[tokio::test]
async fn a_refusal_keeps_its_words_and_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("helper.sock");
    let refusal = OpError {
        op: "ensure-loop".into(),
        step: "LOOP_CONFIGURE".into(),
        errno: Some(16),
        message: "Device or resource busy".into(),
        retry: Retry::Later,
    };
    let answer = Response::Error {
        error: refusal.clone(),
    };
    // The second call finds the first one's connection: the server would
    // serve a second connection only after the first was closed.
    let seen = serve(socket.clone(), ours(), 9, answer);
    let client = HelperClient::new(&socket);
    for _ in 0..2 {
        let error = client
            .ensure(attach(), vec![file(dir.path(), "")])
            .await
            .unwrap_err();
        assert!(error.may_pass());
        assert!(matches!(error, HelperError::Refused(e) if e == refusal));
        seen.recv().unwrap();
    }
}

#[tokio::test]
async fn an_answer_to_something_else_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("helper.sock");
    let answer = Response::Hello { version: ours() };
    let _seen = serve(socket.clone(), ours(), 1, answer);
    let error = HelperClient::new(&socket).inventory().await.unwrap_err();
    assert!(matches!(error, HelperError::OtherAnswer { .. }));
}

/// A helper of minor 0, as far as it is asked here: what it can't read it refuses,
/// and closes the connection.
fn serve_minor_0(path: PathBuf) {
    let listener = UnixListener::bind(path).unwrap();
    let version = Version { minor: 0, ..ours() };
    let inventory = r#"{"bootId":"b","vmms":{"known":[]},"taps":{"known":[]},"loops":{"known":[]},
        "dms":{"known":[]},"bridge":{"known":true},"nat":{"known":[1]}}"#;
    let inventory: Inventory = serde_json::from_str(inventory).unwrap();
    let unchanged = Response::Unchanged {
        handle: Handle::None,
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while let Some((request, _)) = receive(&mut stream) {
                let json = serde_json::to_value(&request).unwrap();
                let fields: BTreeSet<&str> = json
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(String::as_str)
                    .collect();
                let known: &[&str] = match request.op() {
                    "hello" => &["op", "version"],
                    "ensure-nat" => &["op", "guests"],
                    "ensure-loop" => &["op", "uid", "role"],
                    "inventory" | "ensure-bridge" => &["op"],
                    _ => &[],
                };
                if !fields.iter().all(|field| known.contains(field)) {
                    let error = OpError {
                        op: "frame".into(),
                        step: "read".into(),
                        errno: None,
                        message: format!("unknown: {json}"),
                        retry: Retry::Never,
                    };
                    respond(&mut stream, &Response::Error { error });
                    break;
                }
                let answer = match request {
                    Request::Hello { .. } => Response::Hello { version },
                    Request::Inventory {} => Response::Inventory {
                        inventory: Box::new(inventory.clone()),
                    },
                    _ => unchanged.clone(),
                };
                respond(&mut stream, &answer);
            }
        }
    });
}

#[tokio::test]
async fn beside_an_older_helper_vms_go_on_and_what_it_lacks_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("helper.sock");
    serve_minor_0(socket.clone());
    let client = HelperClient::new(&socket);
    let isolated = NetworkPolicy {
        isolated: true,
        ..NetworkPolicy::default()
    };
    for newer in [
        Request::EnsurePool {
            size: PoolSize::try_from(4).unwrap(),
            parallel: WarmUps::ONE,
        },
        Request::from(isolated),
        Request::EnsureBridge { ipv6: true },
    ] {
        let op = newer.op();
        let error = client.ensure(newer, Vec::new()).await.unwrap_err();
        let step: banger_core::seam::StepError = error.into();
        assert!(!step.retry, "{op} is asked for again");
        let remedy = step.remedy.unwrap();
        assert!(remedy.contains("`sudo banger system install`"), "{remedy}");

        // All that a VM needs is done, though that connection is gone.
        let seen = client.inventory().await.unwrap();
        assert!(seen.pool.is_none() && seen.policy.is_none());
        for known in [
            Request::from(NetworkPolicy::default()),
            Request::EnsureBridge { ipv6: false },
        ] {
            client.ensure(known, Vec::new()).await.unwrap();
        }
        let disk = vec![file(dir.path(), "")];
        client.ensure(attach(), disk).await.unwrap();
    }
}
