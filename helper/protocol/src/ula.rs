//! The guests' IPv6 prefix: a /64 of unique local addresses (RFC 4193). A
//! guest's address follows from its slot, as its IPv4 address does.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::Slot;

/// A /64 within fc00::/7, without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Ipv6Net", into = "Ipv6Net")]
pub struct Ula(Ipv6Net);

/// Not such a prefix.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAUla {
    /// No network at all.
    #[error("`{0}` is not an IPv6 network")]
    Text(String),
    /// Others may have it.
    #[error("`{0}` is not a network of unique local addresses, fc00::/7 (RFC 4193)")]
    Public(Ipv6Net),
    /// Longer or shorter.
    #[error("`{0}` is not a /64")]
    Length(Ipv6Net),
    /// An address within a network.
    #[error("`{0}` is an address within a network, not a network")]
    HostBits(Ipv6Net),
}

impl Ula {
    /// Bits of the prefix (RFC 4193, 3.1).
    const LENGTH: u8 = 64;

    /// The prefix of an installation that chose none: `fdba:`, the four octets
    /// of its IPv4 network, and that one's prefix length as Subnet ID, so that
    /// two of these clash only where the IPv4 networks do. 172.30.0.0/16 has
    /// fdba:ac1e:0:10::/64. It isn't random, as RFC 4193 (3.2.2) has it for
    /// networks that are to be joined one day: this one is behind NAT66.
    pub fn beside(subnet: Ipv4Net) -> Self {
        let [a, b, c, d] = subnet.network().octets();
        let pair = |high, low| u16::from_be_bytes([high, low]);
        let id = u16::from(subnet.prefix_len());
        let network = Ipv6Addr::new(0xfdba, pair(a, b), pair(c, d), id, 0, 0, 0, 0);
        Self(Ipv6Net::new_assert(network, Self::LENGTH))
    }

    /// The network.
    pub const fn get(self) -> Ipv6Net {
        self.0
    }

    /// Whether it is an address of this network.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        self.0.contains(&address)
    }

    /// The bridge's own address: network + 1.
    pub fn gateway(self) -> Ipv6Addr {
        self.host(1)
    }

    /// A guest's address: network + 1 + slot.
    pub fn guest(self, slot: Slot) -> Ipv6Addr {
        self.host(1 + u128::from(slot.get()))
    }

    /// The slot of a guest's address; `None` where it is nobody's.
    pub fn slot(self, address: Ipv6Addr) -> Option<Slot> {
        let number = u128::from(address).checked_sub(u128::from(self.gateway()))?;
        Slot::try_from(u16::try_from(number).ok()?).ok()
    }

    fn host(self, number: u128) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.0.network()) | number)
    }
}

/// The link-local address that a kernel makes of a MAC (RFC 4291, appendix A).
pub fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let pair = |high, low| u16::from_be_bytes([high, low]);
    let universal = a ^ 0x02;
    let (first, second) = (pair(universal, b), pair(c, 0xff));
    Ipv6Addr::new(0xfe80, 0, 0, 0, first, second, pair(0xfe, d), pair(e, f))
}

impl TryFrom<Ipv6Net> for Ula {
    type Error = NotAUla;

    fn try_from(network: Ipv6Net) -> Result<Self, NotAUla> {
        if !network.addr().is_unique_local() {
            Err(NotAUla::Public(network))
        } else if network.prefix_len() != Self::LENGTH {
            Err(NotAUla::Length(network))
        } else if network.trunc() != network {
            Err(NotAUla::HostBits(network))
        } else {
            Ok(Self(network))
        }
    }
}

impl FromStr for Ula {
    type Err = NotAUla;

    fn from_str(text: &str) -> Result<Self, NotAUla> {
        let network: Result<Ipv6Net, _> = text.parse();
        Self::try_from(network.map_err(|_| NotAUla::Text(text.to_owned()))?)
    }
}

impl From<Ula> for Ipv6Net {
    fn from(ula: Ula) -> Self {
        ula.0
    }
}

impl fmt::Display for Ula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
