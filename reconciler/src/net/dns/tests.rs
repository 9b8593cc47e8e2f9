//! A server on loopback addresses: 127.77.0.0/16 is the guests' subnet, and
//! fd77::/64 their IPv6 prefix.
#![allow(clippy::unwrap_used)]

mod answers;
mod faults;
mod floods;
mod forwarding;
mod fuzz;
mod helper;
mod live;
mod loops;
mod service;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::message::Transport;
use super::records::Records;
use super::resolvers::Resolvers;
use super::server::{Server, Verdict};
use super::zone::Zone;

/// The server's address, which is the host's own on the bridge.
const SERVER: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);
/// Two guests.
const GUEST: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 3);

fn zone() -> Zone {
    let ula = "fd77::/64".parse().unwrap();
    Zone::new("127.77.0.0/16".parse().unwrap(), Some(ula))
}

fn vm(name: &str) -> banger_core::api::Name {
    name.parse().unwrap()
}

/// The IPv6 address of the first.
const GUEST6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

/// `web` has an address of each kind, `db` an IPv4 address.
fn records() -> Records {
    let mut records = Records::default();
    records.insert(&vm("web"), GUEST.into());
    records.insert(&vm("web"), GUEST6.into());
    records.insert(&vm("db"), OTHER.into());
    records
}

fn server_with(records: Records, resolvers: Resolvers) -> Arc<Server> {
    let (_, records) = watch::channel(Arc::new(records));
    Arc::new(Server::new(zone(), records, resolvers))
}

fn server() -> Arc<Server> {
    server_with(records(), Resolvers::Fixed(Vec::new()))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn query(text: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

fn read(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).unwrap()
}

/// The answer to a packet, which must be the server's own.
fn answered(server: &Server, packet: &[u8], transport: Transport) -> Vec<u8> {
    match server.decide(packet, transport) {
        Verdict::Answer(bytes) => bytes,
        Verdict::Drop => panic!("it was dropped"),
        Verdict::Forward(_) => panic!("it was forwarded"),
    }
}

/// What a server outside answers: the question with these records.
fn reply(asked: &Message, answers: Vec<Record>) -> Message {
    let mut message = Message::response(asked.metadata.id, asked.metadata.op_code);
    message.metadata.recursion_available = true;
    message.add_queries(asked.queries.iter().cloned());
    message.answers = answers;
    message
}

fn record(asked: &Message, data: RData) -> Record {
    Record::from_rdata(asked.queries[0].name.clone(), 300, data)
}

/// A server outside: answers with what the function makes of a question, each
/// of it in a packet of its own, or all of it over TCP.
struct Upstream {
    address: SocketAddr,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Upstream {
    async fn start(
        answer: impl Fn(&Message, Transport) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        let answer_udp = Arc::clone(&answer);
        let packets = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                for bytes in answer_udp(&read(&buffer[..length]), Transport::Udp) {
                    udp.send_to(&bytes, from).await.unwrap();
                }
            }
        });
        let streams = tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut question = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut question).await.unwrap();
                for bytes in answer(&read(&question), Transport::Tcp) {
                    let length = u16::try_from(bytes.len()).unwrap();
                    stream.write_all(&length.to_be_bytes()).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                }
            }
        });
        Self {
            address,
            _tasks: [packets, streams].map(AbortOnDropHandle::new),
        }
    }
}

/// A server that serves.
struct Bench {
    udp: SocketAddr,
    tcp: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Bench {
    async fn start(resolvers: Resolvers) -> Self {
        let server = server_with(records(), resolvers);
        let udp = UdpSocket::bind((SERVER, 0)).await.unwrap();
        let tcp = TcpListener::bind((SERVER, 0)).await.unwrap();
        Self {
            udp: udp.local_addr().unwrap(),
            tcp: tcp.local_addr().unwrap(),
            _task: AbortOnDropHandle::new(tokio::spawn(server.serve(udp, tcp))),
        }
    }

    async fn with(upstreams: &[&Upstream]) -> Self {
        let addresses = upstreams.iter().map(|upstream| upstream.address).collect();
        Self::start(Resolvers::Fixed(addresses)).await
    }

    async fn client(&self, from: Ipv4Addr) -> UdpSocket {
        let socket = UdpSocket::bind((from, 0)).await.unwrap();
        socket.connect(self.udp).await.unwrap();
        socket
    }

    /// The answer over UDP to a guest.
    async fn ask(&self, asked: &Message) -> Message {
        let client = self.client(GUEST).await;
        client.send(&bytes(asked)).await.unwrap();
        let answer = receive(&client).await;
        assert_eq!(answer.metadata.id, asked.metadata.id);
        answer
    }

    /// The answer over TCP to a guest.
    async fn ask_over_tcp(&self, asked: &Message) -> Message {
        let mut stream = self.connect(GUEST).await;
        say(&mut stream, &bytes(asked)).await;
        hear(&mut stream).await
    }

    async fn connect(&self, from: Ipv4Addr) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.tcp).await.unwrap()
    }
}

async fn receive(client: &UdpSocket) -> Message {
    let mut buffer = [0; 4096];
    let length = client.recv(&mut buffer).await.unwrap();
    read(&buffer[..length])
}

async fn say(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap();
    stream.write_all(&length.to_be_bytes()).await.unwrap();
    stream.write_all(message).await.unwrap();
}

async fn hear(stream: &mut TcpStream) -> Message {
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    read(&answer)
}
