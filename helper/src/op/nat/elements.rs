//! The sets that a policy is made of: to nft(8) and back. `confined` has the
//! addresses of guests with an egress policy, `egress` pairs of such an address
//! and a network; `confined6` and `egress6` the same of IPv6. In both tables,
//! since a set belongs to one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use banger_protocol::{Cidrs, Egress, Install, Slot};
use ipnet::IpNet;
use serde_json::Value;

use super::family::Family;
use super::listing::Listing;

/// The sets of an egress policy, of each family.
pub(super) const SETS: [&str; 2] = ["confined", "egress"];

/// Matches what a guest's egress policy doesn't name.
pub(super) fn beyond_egress(family: Family) -> String {
    let ([confined, egress], ip) = (SETS.map(|it| family.set(it)), family.word());
    format!("{ip} saddr @{confined} {ip} saddr . {ip} daddr != @{egress}")
}

/// The names of these sets of each family, sorted.
pub(super) fn names(sets: &[&str], ipv6: bool) -> Vec<String> {
    let of = |family: &Family| sets.iter().map(|set| family.set(set)).collect::<Vec<_>>();
    let mut names: Vec<String> = Family::all(ipv6).iter().flat_map(of).collect();
    names.sort_unstable();
    names
}

/// A set of guests' addresses, of each family.
pub(super) fn write_guests(
    install: &Install,
    name: &str,
    guests: &BTreeSet<Slot>,
    ipv6: bool,
    text: &mut String,
) {
    for family in Family::all(ipv6) {
        let addresses = guests
            .iter()
            .filter_map(|slot| family.address(install, *slot));
        let elements: Vec<String> = addresses.map(|it| it.to_string()).collect();
        let kind = format!("type {};", family.of_address());
        write_set(&family.set(name), &kind, &elements, text);
    }
}

/// Both sets of an egress policy, of each family.
pub(super) fn write_egress(install: &Install, egress: &Egress, ipv6: bool, text: &mut String) {
    let guests = egress.iter().map(|(slot, _)| slot).collect();
    write_guests(install, SETS[0], &guests, ipv6, text);
    for family in Family::all(ipv6) {
        let guests = egress
            .iter()
            .filter_map(|(slot, allow)| Some((family.address(install, slot)?, allow)));
        let pairs: Vec<String> = guests
            .flat_map(|(address, allow)| {
                let of_family = allow.iter().filter(|to| family.has(to));
                of_family.map(move |to| format!("{address} . {to}"))
            })
            .collect();
        let kind = format!("type {0} . {0}; flags interval;", family.of_address());
        write_set(&family.set(SETS[1]), &kind, &pairs, text);
    }
}

fn write_set(name: &str, kind: &str, elements: &[String], text: &mut String) {
    // Writing to a String can't fail. nft takes no empty list of elements.
    let _ = write!(text, "  set {name} {{ {kind} ");
    if !elements.is_empty() {
        let _ = write!(text, "elements = {{ {} }}; ", elements.join(", "));
    }
    text.push_str("}\n");
}

/// The elements of sets, by name, as nft lists them.
pub(super) type Sets = BTreeMap<String, Vec<Value>>;

/// Those of these sets of ours that are in the list.
pub(super) fn gather(listing: &Listing, family: &'static str, names: &[String]) -> Sets {
    let elements = |name: &String| {
        let all = listing.elements(family, name)?;
        Some((name.clone(), all.to_vec()))
    };
    names.iter().filter_map(elements).collect()
}

/// The guests whose addresses a set has; `None` where an address is nobody's,
/// or the families don't say the same.
pub(super) fn guests(
    install: &Install,
    name: &str,
    ipv6: bool,
    sets: &Sets,
) -> Option<BTreeSet<Slot>> {
    let mut guests = None;
    for family in Family::all(ipv6) {
        let elements = sets.get(&family.set(name))?.iter();
        let slots = elements.map(|it| family.slot(install, address(it)?));
        let slots: BTreeSet<Slot> = slots.collect::<Option<_>>()?;
        if guests.get_or_insert_with(|| slots.clone()) != &slots {
            return None;
        }
    }
    guests
}

/// The policy that these sets make together; `None` where it is none that we write.
pub(super) fn egress(install: &Install, ipv6: bool, sets: &Sets) -> Option<Egress> {
    let mut networks: BTreeMap<Slot, Vec<IpNet>> = BTreeMap::new();
    for slot in guests(install, SETS[0], ipv6, sets)? {
        networks.insert(slot, Vec::new());
    }
    for family in Family::all(ipv6) {
        for element in sets.get(&family.set(SETS[1]))? {
            let [from, to] = element["concat"].as_array()?.as_slice() else {
                return None;
            };
            let of = networks.get_mut(&family.slot(install, address(from)?)?)?;
            of.push(network(to)?);
        }
    }
    let mut policies = Vec::new();
    for (slot, mut all) in networks {
        all.sort_unstable();
        policies.push((slot, Cidrs::try_from(all).ok()?));
    }
    Some(policies.into_iter().collect())
}

fn address(element: &Value) -> Option<IpAddr> {
    element.as_str()?.parse().ok()
}

/// `"1.2.3.4"`, or `{"prefix": {"addr": "1.2.3.0", "len": 24}}`.
fn network(element: &Value) -> Option<IpNet> {
    if let Some(one) = address(element) {
        return Some(one.into());
    }
    let prefix = &element["prefix"];
    let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
    IpNet::new(address(&prefix["addr"])?, length).ok()
}
