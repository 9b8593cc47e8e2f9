//! The guest's network, by netlink (rtnetlink(7)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use banger_agent_protocol::{GuestConfig, GuestIpv6};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily as Family, RouteNetlinkMessage as Route};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::fault::{During, Fault};
use crate::log;

/// The one network interface that a guest of banger has.
pub(crate) const INTERFACE: &str = "eth0";

/// Of the interface, before it is up: no address and no route but those that it
/// is given, and none that waits until nobody has objected to it.
const QUIET: [(&str, &str); 4] = [
    ("disable_ipv6", "0"),
    ("accept_ra", "0"),
    ("autoconf", "0"),
    ("accept_dad", "0"),
];

/// Loopback and interface up, addresses and default routes set.
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
    if config.ipv6.is_some() {
        quieten();
    }
    link.ask(up(interface))
        .during(format!("bringing {INTERFACE} up"))?;
    link.ask(default_route(interface, config.gateway.into()))
        .during(format!("routing through {}", config.gateway))?;
    // A kernel without IPv6 makes a guest without it, and no failed boot.
    if let Some(ipv6) = &config.ipv6
        && let Err(error) = second(&link, interface, ipv6)
    {
        log::error(format_args!("{INTERFACE} has no IPv6: {error}"));
    }
    Ok(())
}

fn quieten() {
    for (key, value) in QUIET {
        let path = format!("/proc/sys/net/ipv6/conf/{INTERFACE}/{key}");
        if let Err(error) = std::fs::write(&path, value) {
            log::note(format_args!("{path} could not be set: {error}"));
        }
    }
}

fn second(link: &Netlink, interface: u32, ipv6: &GuestIpv6) -> io::Result<()> {
    link.ask(address6(interface, ipv6.address, ipv6.prefix))?;
    link.ask(default_route(interface, ipv6.gateway.into()))
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

/// Nobody else can have it: it needn't wait until nobody has objected.
pub(super) fn address6(index: u32, address: Ipv6Addr, prefix: u8) -> Route {
    let mut message = AddressMessage::default();
    message.header.family = Family::Inet6;
    message.header.prefix_len = prefix;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V6(address)),
        AddressAttribute::Address(IpAddr::V6(address)),
    ];
    Route::NewAddress(message)
}

pub(super) fn default_route(index: u32, gateway: IpAddr) -> Route {
    let mut message = RouteMessage::default();
    let (family, gateway) = match gateway {
        IpAddr::V4(gateway) => (Family::Inet, RouteAddress::Inet(gateway)),
        IpAddr::V6(gateway) => (Family::Inet6, RouteAddress::Inet6(gateway)),
    };
    message.header.address_family = family;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Gateway(gateway), RouteAttribute::Oif(index)];
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
