//! What guests may reach, as the tables hold it: one value for the whole host,
//! because the tables are replaced whole.
//!
//! Bounded here, so that no request can ask for more rules than root is ready
//! to keep, and so that every policy fits into one frame.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Slot;

/// What all guests may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Guests that may reach beyond the host.
    pub guests: BTreeSet<Slot>,
    /// Guests that may begin nothing but with these networks.
    #[serde(default, skip_serializing_if = "Egress::is_empty")]
    pub egress: Egress,
    /// Whether guests are kept from one another.
    #[serde(default, skip_serializing_if = "is_false")]
    pub isolated: bool,
    /// Whether guests have IPv6. Without it no policy has an IPv6 network.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ipv6: bool,
}

impl NetworkPolicy {
    /// The same for guests without IPv6.
    #[must_use]
    pub fn without_ipv6(self) -> Self {
        let egress = self.egress.iter();
        Self {
            egress: egress.map(|(slot, allow)| (slot, allow.ipv4())).collect(),
            ipv6: false,
            ..self
        }
    }
}

/// For `skip_serializing_if`: a peer of an older minor doesn't know the field.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}

/// Networks in their one canonical form: sorted, IPv4 first, disjoint, joined
/// where two make one, without host bits. None: nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<IpNet>", into = "Vec<IpNet>")]
pub struct Cidrs(Vec<IpNet>);

/// Networks that are not in canonical form, or too many of them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCidrs {
    /// More than [`Cidrs::MOST`].
    #[error("{0} networks are more than {most}", most = Cidrs::MOST)]
    TooMany(usize),
    /// Not as [`Cidrs::of`] writes them.
    #[error("the networks are not sorted, disjoint and without host bits")]
    NotCanonical,
}

impl Cidrs {
    /// Networks of one guest, at most.
    pub const MOST: usize = 32;

    /// The canonical form of these; host bits are cleared.
    ///
    /// # Errors
    /// They are too many even so.
    pub fn of(networks: impl IntoIterator<Item = IpNet>) -> Result<Self, BadCidrs> {
        let networks: Vec<IpNet> = networks.into_iter().map(|it| it.trunc()).collect();
        let joined = IpNet::aggregate(&networks);
        if joined.len() > Self::MOST {
            return Err(BadCidrs::TooMany(joined.len()));
        }
        Ok(Self(joined))
    }

    /// They, sorted.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        self.0.iter().copied()
    }

    /// Those of IPv4.
    #[must_use]
    pub fn ipv4(&self) -> Self {
        let ipv4 = |it: &IpNet| matches!(it, IpNet::V4(_));
        Self(self.iter().filter(ipv4).collect())
    }

    /// How many of them are IPv6 networks.
    pub fn len6(&self) -> usize {
        let ipv6 = |it: &&IpNet| matches!(it, IpNet::V6(_));
        self.0.iter().filter(ipv6).count()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is allowed.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<IpNet>> for Cidrs {
    type Error = BadCidrs;

    fn try_from(networks: Vec<IpNet>) -> Result<Self, BadCidrs> {
        if networks.len() > Self::MOST {
            return Err(BadCidrs::TooMany(networks.len()));
        }
        let canonical = Self::of(networks.iter().copied())?;
        if canonical.0 == networks {
            Ok(canonical)
        } else {
            Err(BadCidrs::NotCanonical)
        }
    }
}

impl From<Cidrs> for Vec<IpNet> {
    fn from(cidrs: Cidrs) -> Self {
        cidrs.0
    }
}

/// The egress policies of all guests that have one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<GuestEgress>", into = "Vec<GuestEgress>")]
pub struct Egress(BTreeMap<Slot, Cidrs>);

/// One guest's, on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GuestEgress {
    /// The guest.
    pub slot: Slot,
    /// What it may reach.
    pub allow: Cidrs,
}

/// Policies that can't be kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEgress {
    /// A guest that is named twice.
    #[error("slot {0} has two egress policies")]
    Twice(u16),
    /// More than [`Egress::MOST`].
    #[error("{0} networks of all guests together are more than {most}", most = Egress::MOST)]
    TooMany(usize),
    /// More than [`Egress::MOST6`].
    #[error("{0} IPv6 networks of all guests together are more than {most}", most = Egress::MOST6)]
    TooMany6(usize),
}

impl Egress {
    /// Networks of all guests together, at most: with 1,024 guests they still
    /// fit into one request of 64 KiB.
    pub const MOST: usize = 1024;
    /// IPv6 networks among them, at most: their text is longer.
    pub const MOST6: usize = 512;

    /// Each guest with what it may reach, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Cidrs)> {
        self.0.iter().map(|(slot, cidrs)| (*slot, cidrs))
    }

    /// One guest's policy; `None` where it has none.
    pub fn get(&self, slot: Slot) -> Option<&Cidrs> {
        self.0.get(&slot)
    }

    /// Whether a policy has an IPv6 network.
    pub fn has_ipv6(&self) -> bool {
        self.0.values().any(|allow| allow.len6() > 0)
    }

    /// Whether no guest has a policy.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Slot, Cidrs)> for Egress {
    /// Where they come from has seen to [`Egress::MOST`]; the wire checks it.
    fn from_iter<I: IntoIterator<Item = (Slot, Cidrs)>>(policies: I) -> Self {
        Self(policies.into_iter().collect())
    }
}

impl TryFrom<Vec<GuestEgress>> for Egress {
    type Error = BadEgress;

    fn try_from(policies: Vec<GuestEgress>) -> Result<Self, BadEgress> {
        let all = policies.iter().map(|it| it.allow.len()).sum();
        if all > Self::MOST {
            return Err(BadEgress::TooMany(all));
        }
        let ipv6 = policies.iter().map(|it| it.allow.len6()).sum();
        if ipv6 > Self::MOST6 {
            return Err(BadEgress::TooMany6(ipv6));
        }
        let mut egress = BTreeMap::new();
        for GuestEgress { slot, allow } in policies {
            if egress.insert(slot, allow).is_some() {
                return Err(BadEgress::Twice(slot.get()));
            }
        }
        Ok(Self(egress))
    }
}

impl From<Egress> for Vec<GuestEgress> {
    fn from(egress: Egress) -> Self {
        let pairs = egress.0.into_iter();
        pairs
            .map(|(slot, allow)| GuestEgress { slot, allow })
            .collect()
    }
}
