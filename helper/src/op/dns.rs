//! Port 53 for the DNS server: the daemon makes two sockets, which needs no
//! privilege, and they are bound here, to the bridge's own address and nothing
//! else. Nothing is read from them, and no descriptor goes back: a socket is
//! the same one in both processes.
//!
//! The address needs not be there yet if the daemon has asked for that
//! (`IP_FREEBIND`, ip(7)).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use banger_protocol::slot::{DNS_PORT, gateway};
use banger_protocol::{Handle, Install};
use rustix::net::sockopt::{socket_domain, socket_protocol, socket_type};
use rustix::net::{AddressFamily, Protocol, SocketType, bind, getsockname, ipproto};

use crate::{Done, Failure, Host, Outcome};

/// What the daemon sends.
#[derive(Debug)]
pub struct Sockets {
    /// UDP over IPv4.
    pub udp: OwnedFd,
    /// TCP over IPv4, not listening yet.
    pub tcp: OwnedFd,
}

/// Binds what isn't bound yet.
pub fn ensure(host: &Host, sockets: Sockets) -> Done {
    let address = address(&host.install);
    let udp = Kind {
        name: "the UDP socket",
        kind: SocketType::DGRAM,
        protocol: ipproto::UDP,
    };
    let tcp = Kind {
        name: "the TCP socket",
        kind: SocketType::STREAM,
        protocol: ipproto::TCP,
    };
    // Both are looked at before one is touched.
    let udp_missing = udp.missing(&sockets.udp, address)?;
    let tcp_missing = tcp.missing(&sockets.tcp, address)?;
    if udp_missing {
        udp.bind(&sockets.udp, address)?;
    }
    if tcp_missing {
        tcp.bind(&sockets.tcp, address)?;
    }
    Ok(Outcome::new(udp_missing || tcp_missing, Handle::None))
}

/// The one address that there is to bind to.
fn address(install: &Install) -> SocketAddrV4 {
    SocketAddrV4::new(gateway(install.subnet), DNS_PORT)
}

/// What a socket must be.
struct Kind {
    name: &'static str,
    kind: SocketType,
    protocol: Protocol,
}

impl Kind {
    /// Whether the socket is still to be bound; refuses any but this kind.
    fn missing(&self, socket: &OwnedFd, address: SocketAddrV4) -> Result<bool, Failure> {
        let os = |step| move |e: rustix::io::Errno| Failure::os(step, self.name, e);
        let is = socket_domain(socket).map_err(os("SO_DOMAIN"))? == AddressFamily::INET
            && socket_type(socket).map_err(os("SO_TYPE"))? == self.kind
            && socket_protocol(socket).map_err(os("SO_PROTOCOL"))? == Some(self.protocol);
        if !is {
            let message = format!("{} is of another kind", self.name);
            return Err(Failure::refused("SO_PROTOCOL", message));
        }
        let bound = getsockname(socket).map_err(os("getsockname"))?;
        let bound = SocketAddrV4::try_from(bound)
            .map_err(|_| Failure::refused("getsockname", "not an IPv4 address"))?;
        if bound == address {
            return Ok(false);
        }
        if bound != SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0) {
            let message = format!("{} is bound to {bound} already", self.name);
            return Err(Failure::refused("getsockname", message));
        }
        Ok(true)
    }

    fn bind(&self, socket: &OwnedFd, address: SocketAddrV4) -> Result<(), Failure> {
        bind(socket, &address)
            .map_err(|e| Failure::os("bind", format!("{} to {address}", self.name), e))
    }
}
