//! One question to the servers, one after another.
//!
//! `UDP -> (truncated: TCP) -> answer`. A server that refuses, fails or is
//! silent makes room for the next one; the last word is passed on if nobody
//! has a better one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::message::{self, PAYLOAD, Request};

/// How long a server may take before the next one is asked.
const EACH: Duration = Duration::from_millis(1500);
/// How long all of them may take: a client's own patience is 5 s (resolv.conf(5)).
const ALL: Duration = Duration::from_millis(4500);
/// Every server is asked so often.
const ROUNDS: usize = 2;

/// The answer, or none in time.
pub(super) async fn ask(servers: &[SocketAddr], request: &Request) -> Option<Message> {
    let end = Instant::now() + ALL;
    let mut last = None;
    for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
        let until = end.min(Instant::now() + EACH);
        match timeout_at(until, exchange(*server, request)).await {
            Ok(Ok(answer)) if !failed(&answer) => return Some(answer),
            Ok(Ok(answer)) => last = Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "the server can't be asked"),
            Err(_) => tracing::debug!(%server, "the server was silent"),
        }
        if Instant::now() >= end {
            break;
        }
    }
    last
}

/// Whether another server may know more.
const fn failed(answer: &Message) -> bool {
    matches!(
        answer.metadata.response_code,
        ResponseCode::ServFail
            | ResponseCode::Refused
            | ResponseCode::NotImp
            | ResponseCode::FormErr
    )
}

async fn exchange(server: SocketAddr, request: &Request) -> io::Result<Message> {
    let asked = request.forwarded(true);
    let mut answer = over_udp(server, &asked).await?;
    let code = answer.metadata.response_code;
    let old = matches!(code, ResponseCode::FormErr | ResponseCode::NotImp);
    if old && answer.edns.is_none() {
        // It doesn't know EDNS (RFC 6891, section 7).
        answer = over_udp(server, &request.forwarded(false)).await?;
    }
    if answer.metadata.truncation {
        answer = over_tcp(server, &request.forwarded(true)).await?;
    }
    Ok(answer)
}

/// From a port and with an id that nobody can foresee; the socket takes
/// packets of that server alone.
async fn over_udp(server: SocketAddr, asked: &Message) -> io::Result<Message> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&bytes(asked)?).await?;
    // Larger than what was asked for: some servers don't care.
    let mut buffer = vec![0; usize::from(PAYLOAD) * 4];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = message::answer(&buffer[..length], asked) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, asked: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let bytes = bytes(asked)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&bytes).await?;
    let mut body = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut body).await?;
    message::answer(&body, asked)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an answer to the question"))
}

fn bytes(asked: &Message) -> io::Result<Vec<u8>> {
    asked.to_vec().map_err(io::Error::other)
}
