//! The sets that a policy is made of: to nft(8) and back. `confined` has the
//! addresses of guests with an egress policy, `egress` pairs of such an address
//! and a network. In both tables, since a set belongs to one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use banger_protocol::{Cidrs, Egress, Install, Slot};
use ipnet::Ipv4Net;
use serde_json::Value;

use super::listing::Listing;

/// The sets of an egress policy, sorted.
pub(super) const SETS: [&str; 2] = ["confined", "egress"];
/// Matches what a guest's egress policy doesn't name.
pub(super) const BEYOND_EGRESS: &str = "ip saddr @confined ip saddr . ip daddr != @egress";

/// A set of addresses.
pub(super) fn write_addresses(
    name: &str,
    addresses: impl Iterator<Item = Ipv4Addr>,
    text: &mut String,
) {
    let elements: Vec<String> = addresses.map(|it| it.to_string()).collect();
    write_set(name, "type ipv4_addr;", &elements, text);
}

/// Both sets of an egress policy.
pub(super) fn write_egress(install: &Install, egress: &Egress, text: &mut String) {
    let guests = || {
        let all = egress.iter();
        all.filter_map(|(slot, allow)| Some((slot.address(install.subnet)?, allow)))
    };
    write_addresses(SETS[0], guests().map(|(address, _)| address), text);
    let pairs: Vec<String> = guests()
        .flat_map(|(address, allow)| allow.iter().map(move |to| format!("{address} . {to}")))
        .collect();
    write_set(
        SETS[1],
        "type ipv4_addr . ipv4_addr; flags interval;",
        &pairs,
        text,
    );
}

fn write_set(name: &str, kind: &str, elements: &[String], text: &mut String) {
    // Writing to a String can't fail. nft takes no empty list of elements.
    let _ = write!(text, "  set {name} {{ {kind} ");
    if !elements.is_empty() {
        let _ = write!(text, "elements = {{ {} }}; ", elements.join(", "));
    }
    text.push_str("}\n");
}

/// The guests whose addresses these are; `None` where one is nobody's.
pub(super) fn addresses(install: &Install, elements: &[Value]) -> Option<BTreeSet<Slot>> {
    let slots = elements.iter().map(|it| slot(install, address(it)?));
    slots.collect()
}

/// The policy in a table's sets; `None` where it is none that we write.
pub(super) fn egress(install: &Install, table: &Listing, family: &'static str) -> Option<Egress> {
    let confined = addresses(install, table.elements(family, SETS[0])?)?;
    pairs(install, confined, table.elements(family, SETS[1])?)
}

/// The policy that both sets make together.
pub(super) fn pairs(
    install: &Install,
    confined: BTreeSet<Slot>,
    elements: &[Value],
) -> Option<Egress> {
    let mut networks: BTreeMap<Slot, Vec<Ipv4Net>> = BTreeMap::new();
    for slot in confined {
        networks.insert(slot, Vec::new());
    }
    for element in elements {
        let [from, to] = element["concat"].as_array()?.as_slice() else {
            return None;
        };
        let of = networks.get_mut(&slot(install, address(from)?)?)?;
        of.push(network(to)?);
    }
    let mut policies = Vec::new();
    for (slot, mut all) in networks {
        all.sort_unstable();
        policies.push((slot, Cidrs::try_from(all).ok()?));
    }
    Some(policies.into_iter().collect())
}

fn address(element: &Value) -> Option<Ipv4Addr> {
    element.as_str()?.parse().ok()
}

/// `"1.2.3.4"`, or `{"prefix": {"addr": "1.2.3.0", "len": 24}}`.
fn network(element: &Value) -> Option<Ipv4Net> {
    if let Some(one) = address(element) {
        return Some(one.into());
    }
    let prefix = &element["prefix"];
    let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
    Ipv4Net::new(address(&prefix["addr"])?, length).ok()
}

/// The slot of a guest's address.
fn slot(install: &Install, address: Ipv4Addr) -> Option<Slot> {
    let first = u32::from(install.subnet.network()).checked_add(1)?;
    let number = u32::from(address).checked_sub(first)?;
    let slot = Slot::try_from(u16::try_from(number).ok()?).ok()?;
    (slot.address(install.subnet) == Some(address)).then_some(slot)
}
