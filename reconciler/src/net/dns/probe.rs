//! Whether the server answers, as a client finds out: for `banger doctor`.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use banger_protocol::slot::DNS_PORT;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};

use super::message::{PAYLOAD, answer};

/// Asks the server at this address who has authority over `vm.`; `false`: it
/// is somebody else's server.
///
/// # Errors
/// Nobody answers.
pub fn probe(server: Ipv4Addr, limit: Duration) -> io::Result<bool> {
    // From the server's own address, as the host's own questions come.
    let socket = UdpSocket::bind((server, 0))?;
    socket.set_read_timeout(Some(limit))?;
    socket.connect((server, DNS_PORT))?;
    let mut asked = Message::query();
    let zone = Name::from_ascii("vm.").map_err(io::Error::other)?;
    asked.add_query(Query::query(zone, RecordType::SOA));
    socket.send(&asked.to_vec().map_err(io::Error::other)?)?;
    let mut buffer = [0; PAYLOAD as usize];
    let length = socket.recv(&mut buffer)?;
    let answer = answer(&buffer[..length], &asked);
    Ok(answer.is_some_and(|answer| answer.metadata.authoritative && !answer.answers.is_empty()))
}
