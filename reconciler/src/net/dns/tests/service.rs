//! The whole service, with a helper that binds any port that is free.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use banger_core::config::Dns;
use banger_protocol::{Handle, Install, Request, Response, frame, version};
use hickory_proto::op::ResponseCode;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, bind, getsockname};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::live::object;
use super::*;
use crate::controller::Published;
use crate::net::dns::Service;

/// One request and what came with it.
fn receive_request(stream: &mut UnixStream) -> Option<(Request, Vec<OwnedFd>)> {
    let mut header = [0; frame::HEADER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut header)];
    let received =
        rustix::net::recvmsg(&*stream, &mut parts, &mut control, RecvFlags::WAITALL).unwrap();
    if received.bytes < frame::HEADER {
        return None;
    }
    let descriptors = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let mut body = vec![0; frame::body_length(header, frame::MAX_REQUEST).unwrap()];
    stream.read_exact(&mut body).unwrap();
    Some((frame::decode(&body).unwrap(), descriptors))
}

/// Serves one connection; tells the UDP socket's address.
fn help(listener: &UnixListener, bound: &UnboundedSender<SocketAddr>) {
    let (mut stream, _) = listener.accept().unwrap();
    while let Some((request, descriptors)) = receive_request(&mut stream) {
        let response = match request {
            Request::Hello { .. } => Response::Hello {
                version: version::CURRENT,
            },
            Request::EnsureDns {} => {
                for socket in &descriptors {
                    bind(socket, &SocketAddr::new(SERVER.into(), 0)).unwrap();
                }
                let address = getsockname(&descriptors[0]).unwrap();
                bound.send(address.try_into().unwrap()).unwrap();
                Response::Changed {
                    handle: Handle::None,
                }
            }
            _ => Response::Unchanged {
                handle: Handle::None,
            },
        };
        let bytes = frame::encode(&response, frame::MAX_RESPONSE).unwrap();
        stream.write_all(&bytes).unwrap();
    }
}

fn install() -> Install {
    Install {
        owner: "owner".into(),
        owner_uid: 1000,
        owner_gid: 1000,
        state_dir: "/state".into(),
        jail_dir: "/jail".into(),
        bridge: "br-test".into(),
        subnet: "127.77.0.0/16".parse().unwrap(),
        subnet6: None,
        uid_base: 50_000,
        slots: 100,
        firecracker: "/firecracker".into(),
        jailer: "/jailer".into(),
        agent: "/agent".into(),
    }
}

fn published(phase: &str) -> Arc<Published> {
    Arc::new(Published {
        vms: vec![object("web", "127.77.0.2", phase)],
        complete: true,
        ..Published::default()
    })
}

/// Until the server says so: it follows what is published by itself.
async fn until(client: &UdpSocket, code: ResponseCode) {
    loop {
        let asked = query("web.vm.", RecordType::A);
        client.send(&bytes(&asked)).await.unwrap();
        if receive(client).await.metadata.response_code == code {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_published_is_answered_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("helper.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (bound, mut addresses): (_, UnboundedReceiver<SocketAddr>) = unbounded_channel();
    std::thread::spawn(move || help(&listener, &bound));
    let (status, receiver) = watch::channel(published("Stopped"));
    let service = Service::new(&Dns::default(), &install(), None, socket, receiver);
    let stop = CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));

    let address = addresses.recv().await.unwrap();
    let client = UdpSocket::bind((GUEST, 0)).await.unwrap();
    client.connect(address).await.unwrap();
    until(&client, ResponseCode::NXDomain).await;
    status.send_replace(published("Ready"));
    until(&client, ResponseCode::NoError).await;
    status.send_replace(published("Deleting"));
    until(&client, ResponseCode::NXDomain).await;

    stop.cancel();
    running.await.unwrap();
    UdpSocket::bind(address).await.unwrap();
}

#[tokio::test]
async fn a_disabled_server_asks_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("helper.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (_status, receiver) = watch::channel(published("Ready"));
    let dns = Dns {
        enabled: false,
        ..Dns::default()
    };
    // It ends by itself: there is nothing to wait for.
    Service::new(&dns, &install(), None, socket, receiver)
        .run(CancellationToken::new())
        .await;
    if UnixStream::connect("/run/systemd/resolve/io.systemd.Resolve").is_err() {
        assert!(listener.accept().is_err(), "the helper was asked");
    }
}
