//! The two families of addresses, each with sets and words of its own in nft(8).

use std::net::IpAddr;

use banger_protocol::slot::gateway;
use banger_protocol::{Install, Slot};
use ipnet::IpNet;

/// IPv4, or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Those that guests have.
    pub(super) const fn all(ipv6: bool) -> &'static [Self] {
        if ipv6 {
            &[Self::V4, Self::V6]
        } else {
            &[Self::V4]
        }
    }

    /// The name of this family's set, which IPv4 has without an ending.
    pub(super) fn set(self, name: &str) -> String {
        match self {
            Self::V4 => name.to_owned(),
            Self::V6 => format!("{name}6"),
        }
    }

    /// What a rule matches addresses with.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// The type of an address in a set.
    pub(super) const fn of_address(self) -> &'static str {
        match self {
            Self::V4 => "ipv4_addr",
            Self::V6 => "ipv6_addr",
        }
    }

    /// Whether it is a network of this family.
    pub(super) const fn has(self, network: &IpNet) -> bool {
        matches!(
            (self, network),
            (Self::V4, IpNet::V4(_)) | (Self::V6, IpNet::V6(_))
        )
    }

    /// A guest's address.
    pub(super) fn address(self, install: &Install, slot: Slot) -> Option<IpAddr> {
        match self {
            Self::V4 => Some(slot.address(install.subnet)?.into()),
            Self::V6 => Some(install.ula().guest(slot).into()),
        }
    }

    /// The slot of a guest's address; `None` where it is nobody's.
    pub(super) fn slot(self, install: &Install, address: IpAddr) -> Option<Slot> {
        let slot = match (self, address) {
            (Self::V4, IpAddr::V4(address)) => {
                let number = u32::from(address).checked_sub(gateway(install.subnet).into())?;
                Slot::try_from(u16::try_from(number).ok()?).ok()?
            }
            (Self::V6, IpAddr::V6(address)) => install.ula().slot(address)?,
            _ => return None,
        };
        (self.address(install, slot) == Some(address)).then_some(slot)
    }
}
