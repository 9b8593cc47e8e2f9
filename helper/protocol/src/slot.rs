//! The one number that is allocated per VM. Address, MAC, tap name, CID and
//! the VMM's uid all follow from it, so that two VMs can't clash in only one
//! of them, and the helper can check each of them against the same range.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// A VM's place in the host's ranges, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(u16);

/// Zero is not a slot: it would be the gateway's address.
#[derive(Debug, thiserror::Error)]
#[error("slot 0 does not exist: slots start at 1")]
pub struct ZeroSlot;

impl TryFrom<u16> for Slot {
    type Error = ZeroSlot;

    fn try_from(n: u16) -> Result<Self, ZeroSlot> {
        if n == 0 { Err(ZeroSlot) } else { Ok(Self(n)) }
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> u16 {
        slot.0
    }
}

impl Slot {
    /// The number itself, 1 to 65535.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The guest's address: network + 1 + slot. The gateway is network + 1.
    /// `None` where that isn't a host address of the subnet.
    pub fn address(self, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        let bits = u32::from(subnet.network()).checked_add(1 + u32::from(self.0))?;
        let address = Ipv4Addr::from(bits);
        (subnet.contains(&address) && address != subnet.broadcast()).then_some(address)
    }

    /// The guest's MAC: locally administered `02:ba`, then its address.
    pub fn mac(self, subnet: Ipv4Net) -> Option<[u8; 6]> {
        let [a, b, c, d] = self.address(subnet)?.octets();
        Some([0x02, 0xba, a, b, c, d])
    }

    /// The tap's name, at most 15 bytes (IFNAMSIZ - 1): `bgr<slot>`.
    pub fn tap(self) -> String {
        format!("bgr{}", self.0)
    }

    /// The slot that a tap of this name has, as [`Self::tap`] writes it.
    pub fn of_tap(name: &str) -> Option<Self> {
        let slot = Self::try_from(name.strip_prefix("bgr")?.parse::<u16>().ok()?).ok()?;
        (slot.tap() == name).then_some(slot)
    }

    /// The guest's vsock CID; 0 to 2 are reserved (vsock(7)).
    pub const fn cid(self) -> u32 {
        self.0 as u32 + 2
    }
}

/// Where the guests' DNS server listens on the gateway's address (RFC 1035, 4.2).
pub const DNS_PORT: u16 = 53;

/// The gateway of a subnet: its first host address, the bridge's own.
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()) + 1)
}
