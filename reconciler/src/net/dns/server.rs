//! The server on its two sockets. It ends when it is dropped.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::message::{MAX_QUERY, Request, Transport, Unfit};
use super::quota::Quota;
use super::records::Records;
use super::resolvers::Resolvers;
use super::zone::Zone;
use super::{rebinding, upstream};

/// Questions that other servers are asked at once, of all clients and of each.
/// One over it is dropped, and asked again by its client.
const QUESTIONS: (usize, usize) = (512, 64);
/// TCP connections at once, likewise. One over it is closed.
const CONNECTIONS: (usize, usize) = (256, 16);
/// From the last answer to the end of the next question over TCP.
const IDLE: Duration = Duration::from_secs(10);
/// How long a client may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// After an error of a socket's own.
const PAUSE: Duration = Duration::from_millis(200);

/// What answers are made from.
#[derive(Debug)]
pub(super) struct Server {
    zone: Zone,
    records: watch::Receiver<Arc<Records>>,
    resolvers: Resolvers,
    questions: Arc<Quota>,
    connections: Arc<Quota>,
}

/// What becomes of a packet.
pub(super) enum Verdict {
    /// Nothing.
    Drop,
    /// This is sent back.
    Answer(Vec<u8>),
    /// Others are asked.
    Forward(Box<Request>),
}

impl Server {
    pub(super) fn new(
        zone: Zone,
        records: watch::Receiver<Arc<Records>>,
        resolvers: Resolvers,
    ) -> Self {
        Self {
            zone,
            records,
            resolvers,
            questions: Quota::new(QUESTIONS.0, QUESTIONS.1),
            connections: Quota::new(CONNECTIONS.0, CONNECTIONS.1),
        }
    }

    /// Serves on both sockets.
    pub(super) async fn serve(self: Arc<Self>, udp: UdpSocket, tcp: TcpListener) {
        let udp = Arc::clone(&self).packets(Arc::new(udp));
        tokio::join!(udp, self.accept(tcp));
    }

    /// Decides without waiting for anything.
    pub(super) fn decide(&self, bytes: &[u8], transport: Transport) -> Verdict {
        let request = match Request::read(bytes, transport) {
            Ok(request) => request,
            Err(Unfit::Drop) => return Verdict::Drop,
            Err(Unfit::Answer(bytes)) => return Verdict::Answer(bytes),
        };
        let records = Arc::clone(&self.records.borrow());
        match self.zone.answer(&records, &request.query) {
            Some(reply) => Verdict::Answer(request.local(reply)),
            None => Verdict::Forward(Box::new(request)),
        }
    }

    async fn packets(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut forwarding = JoinSet::new();
        // One byte more than is read: a packet that fills it was cut.
        let mut buffer = vec![0; MAX_QUERY + 1];
        loop {
            while forwarding.try_join_next().is_some() {}
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "a packet could not be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let client = from.ip();
            if !self.zone.contains(client) || from.port() == 0 {
                continue;
            }
            match self.decide(&buffer[..length], Transport::Udp) {
                Verdict::Drop => {}
                Verdict::Answer(bytes) => {
                    // A full buffer, or a client that is gone: it asks again.
                    let _ = socket.try_send_to(&bytes, from);
                }
                Verdict::Forward(request) => {
                    let Some(seat) = self.questions.take(client) else {
                        continue;
                    };
                    let (server, socket) = (Arc::clone(&self), Arc::clone(&socket));
                    forwarding.spawn(async move {
                        let bytes = server.forward(&request, client).await;
                        let _ = socket.try_send_to(&bytes, from);
                        drop(seat);
                    });
                }
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, from)) => {
                    let client = from.ip();
                    if !self.zone.contains(client) {
                        continue;
                    }
                    let Some(seat) = self.connections.take(client) else {
                        continue;
                    };
                    let server = Arc::clone(&self);
                    connections.spawn(async move {
                        server.converse(stream, client).await;
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    // Out of descriptors, most likely: give others time to close theirs.
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// One question after another, until the client has no more or is too slow.
    async fn converse(&self, mut stream: TcpStream, client: IpAddr) {
        while let Ok(Some(question)) = timeout(IDLE, question(&mut stream)).await {
            let answer = match self.decide(&question, Transport::Tcp) {
                Verdict::Drop => return,
                Verdict::Answer(bytes) => bytes,
                Verdict::Forward(request) => {
                    let Some(_seat) = self.questions.take(client) else {
                        return;
                    };
                    self.forward(&request, client).await
                }
            };
            let Ok(length) = u16::try_from(answer.len()) else {
                return;
            };
            // In one piece: some clients expect the length and the message together.
            let mut whole = Vec::with_capacity(2 + answer.len());
            whole.extend_from_slice(&length.to_be_bytes());
            whole.extend_from_slice(&answer);
            if !matches!(
                timeout(PATIENCE, stream.write_all(&whole)).await,
                Ok(Ok(()))
            ) {
                return;
            }
        }
    }

    async fn forward(&self, request: &Request, client: IpAddr) -> Vec<u8> {
        let servers = self.resolvers.of(client, self.zone.server());
        let Some(answer) = upstream::ask(&servers, request).await else {
            return request.error(ResponseCode::ServFail);
        };
        if let Some(address) = rebinding::inside(&answer, self.zone) {
            let name = &request.query.name;
            tracing::debug!(%client, %name, %address, "an answer from outside points inside");
            return request.error(ResponseCode::Refused);
        }
        request.relayed(answer)
    }
}

/// Length and message (RFC 1035, 4.2.2); `None` at the end, or at one that is
/// larger than any question.
async fn question(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = usize::from(stream.read_u16().await.ok()?);
    if length > MAX_QUERY {
        return None;
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await.ok()?;
    Some(question)
}
