#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use banger_core::api::virtual_machine::{Port, Protocol};
use banger_core::seam::StepError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::{Published, udp};

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn tcp(host: u16, guest: u16) -> Port {
    Port {
        host,
        guest,
        protocol: Protocol::Tcp,
        address: None,
    }
}

/// A port that was free a moment ago.
async fn free() -> u16 {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn what_a_client_sends_arrives_and_comes_back() {
    let guest = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = tcp(free().await, guest.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut stream, _) = guest.accept().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        stream
            .write_all(format!("got {text}").as_bytes())
            .await
            .unwrap();
    });
    let published = Published::default();
    published
        .publish(std::slice::from_ref(&port), LOCAL)
        .await
        .unwrap();
    assert_eq!(published.ports(), std::slice::from_ref(&port));

    let mut client = TcpStream::connect((LOCAL, port.host)).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "got hello");
}

#[tokio::test]
async fn exactly_the_wanted_ports_are_open() {
    let (a, b) = (free().await, free().await);
    let published = Published::default();
    published
        .publish(&[tcp(a, 80), tcp(b, 81)], LOCAL)
        .await
        .unwrap();
    // The same port of the host, to another port of the guest.
    published.publish(&[tcp(a, 8080)], LOCAL).await.unwrap();
    assert_eq!(published.ports(), [tcp(a, 8080)]);
    assert!(TcpStream::connect((LOCAL, b)).await.is_err());
    published.publish(&[], LOCAL).await.unwrap();
    assert!(TcpStream::connect((LOCAL, a)).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_is_named_and_the_others_open() {
    let taken = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let other = free().await;
    let published = Published::default();
    let error = published
        .publish(&[tcp(taken_port, 80), tcp(other, 81)], LOCAL)
        .await
        .unwrap_err();
    assert_eq!(published.ports(), [tcp(other, 81)]);
    let step = StepError::from(error);
    assert!(step.retry);
    assert!(step.message.contains(&format!("127.0.0.1:{taken_port}")));
    assert!(step.remedy.unwrap().contains("ss -lntp"));
}

async fn bound() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The next datagram, and who sent it.
async fn next(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 2048];
    let received = tokio::time::timeout(Duration::from_secs(10), socket.recv_from(&mut buffer));
    let (length, from) = received.await.unwrap().unwrap();
    (
        String::from_utf8_lossy(&buffer[..length]).into_owned(),
        from,
    )
}

#[tokio::test]
async fn answers_over_udp_find_the_client_that_asked() {
    let (guest, guest_at) = bound().await;
    // The same number over TCP is another port.
    let tcp_port = tcp(free().await, 80);
    let port = Port {
        guest: guest_at.port(),
        protocol: Protocol::Udp,
        ..tcp_port.clone()
    };
    let published = Published::default();
    let both = [tcp_port, port.clone()];
    published.publish(&both, LOCAL).await.unwrap();
    assert_eq!(published.ports(), both);

    let ((one, _), (two, _)) = (bound().await, bound().await);
    let at = port.bind();
    one.send_to(b"one", at).await.unwrap();
    two.send_to(b"two", at).await.unwrap();
    let (first, second) = (next(&guest).await, next(&guest).await);
    // Answered in the other order, and the second twice.
    for (text, from) in [&second, &first, &second] {
        let answer = format!("for {text}");
        guest.send_to(answer.as_bytes(), from).await.unwrap();
    }
    assert_eq!(next(&one).await, ("for one".into(), at));
    assert_eq!(next(&two).await, ("for two".into(), at));
    assert_eq!(next(&two).await, ("for two".into(), at));
    one.send_to(b"again", at).await.unwrap();
    let (text, from) = next(&guest).await;
    assert_eq!(text, "again");
    assert_eq!(from, first.1, "a client has one session");

    published.publish(&[], LOCAL).await.unwrap();
    UdpSocket::bind(at).await.unwrap();
}

#[tokio::test]
async fn a_udp_port_in_use_is_named() {
    let (_taken, at) = bound().await;
    let port = Port {
        protocol: Protocol::Udp,
        ..tcp(at.port(), 53)
    };
    let error = Published::default().publish(&[port], LOCAL).await;
    let step = StepError::from(error.unwrap_err());
    assert!(step.message.contains(&format!("udp port {at}")));
    assert!(step.remedy.unwrap().contains("ss -lnup"));
}

/// Sends from this client and answers which of the port's sockets the guest saw.
async fn seen(client: &UdpSocket, at: SocketAddr, guest: &UdpSocket) -> SocketAddr {
    client.send_to(b"x", at).await.unwrap();
    next(guest).await.1
}

#[tokio::test]
async fn one_client_too_many_takes_the_place_of_the_longest_idle() {
    let ((guest, guest_at), (socket, at)) = (bound().await, bound().await);
    let port = udp::Port::new(socket, guest_at, 2, Duration::from_secs(600));
    let serving = tokio::spawn(port.serve());
    let (a, b, c) = (bound().await.0, bound().await.0, bound().await.0);
    let a_session = seen(&a, at, &guest).await;
    let b_session = seen(&b, at, &guest).await;
    assert_eq!(seen(&a, at, &guest).await, a_session);
    seen(&c, at, &guest).await;
    assert_eq!(seen(&a, at, &guest).await, a_session, "b was idle longest");
    // Its number is free again.
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, b_session.port()))
        .await
        .unwrap();
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_costs_nothing_after_a_while() {
    let idle = Duration::from_secs(120);
    let ((guest, guest_at), (socket, at)) = (bound().await, bound().await);
    let serving = tokio::spawn(udp::Port::new(socket, guest_at, 8, idle).serve());
    let (client, _) = bound().await;
    let session = seen(&client, at, &guest).await;
    // An answer counts as use.
    tokio::time::sleep(idle / 2).await;
    guest.send_to(b"y", session).await.unwrap();
    next(&client).await;
    tokio::time::sleep(idle / 2 + Duration::from_secs(1)).await;
    assert_eq!(seen(&client, at, &guest).await, session);
    tokio::time::sleep(idle + Duration::from_secs(1)).await;
    // The number is free again.
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, session.port()))
        .await
        .unwrap();
    serving.abort();
}
