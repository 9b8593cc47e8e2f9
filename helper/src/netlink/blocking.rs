//! rtnetlink without a task in between, for a thread that makes many changes one
//! after another: the kernel has done what it is told when `send` returns.

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::Failure;

/// The longest acknowledgement: an error repeats the request.
const ANSWER: usize = 4096;

/// An open rtnetlink socket; closed when dropped.
#[derive(Debug)]
pub struct Blocking(Socket);

impl Blocking {
    /// Opens a socket in the caller's network namespace.
    pub fn open() -> Result<Self, Failure> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let failed = |e: std::io::Error| Failure::os("NETLINK_ROUTE", "socket", e);
        open().map(Self).map_err(failed)
    }

    /// Changes an interface.
    pub fn set(&self, name: &str, message: LinkMessage) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::os("RTM_SETLINK", name, e);
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::SetLink(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.0.send(&bytes, 0).map_err(failed)?;
        let mut answer = Vec::with_capacity(ANSWER);
        self.0.recv(&mut answer, 0).map_err(failed)?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer);
        match answer.map(|answer| answer.payload) {
            Ok(NetlinkPayload::Error(answer)) => match answer.code {
                None => Ok(()),
                Some(_) => Err(failed(answer.to_io())),
            },
            answer => {
                let message = format!("{name}: no acknowledgement but {answer:?}");
                Err(Failure::later("RTM_SETLINK", message))
            }
        }
    }
}
