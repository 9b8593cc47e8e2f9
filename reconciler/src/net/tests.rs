#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use banger_core::api::virtual_machine::{Port, Protocol};
use banger_core::seam::StepError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Published;

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
    assert!(step.remedy.unwrap().contains("ss -ltnp"));
}
