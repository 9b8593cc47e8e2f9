//! The whole service, with a helper that binds any port that is free.

use std::os::unix::net::{UnixListener, UnixStream};

use banger_core::config::Dns;
use hickory_proto::op::ResponseCode;
use tokio_util::sync::CancellationToken;

use super::helper::{Helper, install, published};
use super::*;
use crate::net::dns::Service;

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
    let (helper, _) = Helper::start(None);
    let (status, receiver) = watch::channel(published("Stopped"));
    let service = Service::new(&Dns::default(), &install(), None, helper.socket(), receiver);
    let stop = CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));

    let address = helper.address().await;
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

/// A helper that is gone for good doesn't hold up the daemon's end.
#[tokio::test(start_paused = true)]
async fn the_farewell_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let resolved = dir.path().join("resolved.sock");
    let _listener = UnixListener::bind(&resolved).unwrap();
    let (_status, receiver) = watch::channel(published("Ready"));
    let nobody = dir.path().join("helper.sock");
    let dns = Dns {
        enabled: false,
        ..Dns::default()
    };
    let begun = tokio::time::Instant::now();
    Service::new(&dns, &install(), None, nobody, receiver)
        .with_resolved(resolved)
        .run(CancellationToken::new())
        .await;
    assert_eq!(begun.elapsed().as_secs(), 5);
}
