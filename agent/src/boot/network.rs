//! The guest's network, by netlink (rtnetlink(7)).

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use banger_agent_protocol::GuestConfig;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily as Family, RouteNetlinkMessage as Route};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::fault::{During, Fault};

/// The one network interface that a guest of banger has.
const INTERFACE: &str = "eth0";

/// Loopback and interface up, address and default route set.
pub(super) fn configure(config: &GuestConfig) -> Result<(), Fault> {
    let link = Netlink::open().during("opening a netlink socket")?;
    let index = |name: &str| {
        nix::net::if_::if_nametoindex(name).during(format!("looking for the interface {name}"))
    };
    let loopback = index("lo")?;
    link.ask(up(loopback)).during("bringing lo up")?;
    let interface = index(INTERFACE)?;
    link.ask(address(interface, config.address, config.prefix))
        .during(format!("giving {INTERFACE} its address"))?;
    link.ask(up(interface))
        .during(format!("bringing {INTERFACE} up"))?;
    link.ask(default_route(interface, config.gateway))
        .during(format!("routing through {}", config.gateway))
}

pub(super) fn up(index: u32) -> Route {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Route::SetLink(message)
}

pub(super) fn address(index: u32, address: Ipv4Addr, prefix: u8) -> Route {
    let mut message = AddressMessage::default();
    message.header.family = Family::Inet;
    message.header.prefix_len = prefix;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address)),
        AddressAttribute::Address(IpAddr::V4(address)),
    ];
    // RFC 3021: a network of two or of one has no broadcast address.
    if prefix < 31 {
        let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        let broadcast = Ipv4Addr::from(u32::from(address) | hosts);
        message
            .attributes
            .push(AddressAttribute::Broadcast(broadcast));
    }
    Route::NewAddress(message)
}

pub(super) fn default_route(index: u32, gateway: Ipv4Addr) -> Route {
    let mut message = RouteMessage::default();
    message.header.address_family = Family::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)),
        RouteAttribute::Oif(index),
    ];
    Route::NewRoute(message)
}

/// A route socket.
struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self { socket })
    }

    /// Sends one request; the kernel answers it before `send` returns.
    fn ask(&self, request: Route) -> io::Result<()> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut answer = vec![0; 8192];
        let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let answer = NetlinkMessage::<Route>::deserialize(&answer[..length])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
            _ => Ok(()),
        }
    }
}
