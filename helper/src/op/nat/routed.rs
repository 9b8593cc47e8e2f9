//! Table `inet banger`: what passes between the bridge and the rest, and what
//! of the host itself guests may reach.
//!
//! A guest's frame to a link-local group address (IEEE 802.1Q, table 8-1) isn't
//! bridged but handed up from the tap itself: what comes in by a tap and not by
//! the bridge is dropped first.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use banger_protocol::slot::gateway;
use banger_protocol::{Egress, Install, NetworkPolicy};

use super::chain::{Chain, Rule, all_stand};
use super::elements;
use super::family::Family;
use super::listing::Listing;
use super::reference::{Counted, Part};

pub(super) const FAMILY: &str = "inet";
/// The guests that may reach beyond the host.
const GUESTS: &str = "guests";
/// All sets, of each family.
const NAMES: [&str; 3] = [elements::SETS[0], elements::SETS[1], GUESTS];

/// The transaction that writes the table: make sure that there is one, delete
/// it, write it anew.
pub(super) fn write(install: &Install, policy: &NetworkPolicy, text: &mut String) {
    text.push_str("add table inet banger\ndelete table inet banger\ntable inet banger {\n");
    let ipv6 = policy.ipv6;
    elements::write_guests(install, GUESTS, &policy.guests, ipv6, text);
    elements::write_egress(install, &policy.egress, ipv6, text);
    for chain in chains(install, policy.isolated, ipv6) {
        chain.write(text);
    }
    text.push_str("}\n");
}

fn chains(install: &Install, isolated: bool, ipv6: bool) -> [Chain; 3] {
    let bridge = &install.bridge;
    let masquerade = |family: &Family| {
        let (guests, ip) = (family.set(GUESTS), family.word());
        let words = format!("{ip} saddr @{guests} oifname != \"{bridge}\" masquerade");
        Rule("behind the host", words)
    };
    let filter = |name, rules| Chain {
        name,
        kind: "filter",
        hook: name,
        priority: 0,
        rules,
    };
    [
        Chain {
            name: "postrouting",
            kind: "nat",
            hook: "postrouting",
            priority: 100,
            rules: Family::all(ipv6).iter().map(masquerade).collect(),
        },
        filter("forward", forward(bridge, isolated, ipv6)),
        filter("input", input(bridge, gateway(install.subnet), ipv6)),
    ]
}

fn forward(bridge: &str, isolated: bool, ipv6: bool) -> Vec<Rule> {
    let families = Family::all(ipv6).iter();
    let mut rules = vec![past_the_bridge()];
    let among = format!("iifname \"{bridge}\" oifname \"{bridge}\"");
    if isolated {
        rules.push(Rule("guests apart", format!("{among} drop")));
    }
    if ipv6 {
        // Where br_netfilter is loaded, what is bridged comes by here, too. A
        // neighbour is no destination that an egress policy could name.
        let words =
            format!("{among} icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept");
        rules.push(Rule("neighbours", words));
    }
    rules.push(Rule(
        "answers",
        format!("oifname \"{bridge}\" ct state established,related accept"),
    ));
    rules.extend(families.clone().map(|family| {
        let beyond = elements::beyond_egress(*family);
        Rule("egress", format!("iifname \"{bridge}\" {beyond} drop"))
    }));
    if !isolated {
        rules.push(Rule("among guests", format!("{among} accept")));
    }
    rules.extend(families.map(|family| {
        let (guests, ip) = (family.set(GUESTS), family.word());
        let words = format!("iifname \"{bridge}\" {ip} saddr @{guests} accept");
        Rule("out", words)
    }));
    rules.extend([
        Rule("no way out", format!("iifname \"{bridge}\" drop")),
        Rule("no way in", format!("oifname \"{bridge}\" drop")),
    ]);
    rules
}

/// DNS is beyond an egress policy unless that names the bridge's address:
/// whoever may ask for any name can send anything in names. It isn't there over
/// IPv6: of that, guests see how to reach the bridge, and its ping.
fn input(bridge: &str, gateway: Ipv4Addr, ipv6: bool) -> Vec<Rule> {
    let rule = |name, words: &str| Rule(name, words.to_owned());
    let mut rules = vec![
        past_the_bridge(),
        Rule("not a guest", format!("iifname != \"{bridge}\" accept")),
        rule("answers", "ct state established,related accept"),
        rule("ping", "icmp type echo-request accept"),
    ];
    if ipv6 {
        rules.push(rule(
            "neighbours, ping",
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, echo-request } accept",
        ));
    }
    rules.extend([
        Rule(
            "egress",
            format!("{} drop", elements::beyond_egress(Family::V4)),
        ),
        Rule("DNS", format!("ip daddr {gateway} udp dport 53 accept")),
        Rule(
            "DNS, long",
            format!("ip daddr {gateway} tcp dport 53 accept"),
        ),
        rule("nothing else", "drop"),
    ]);
    rules
}

fn past_the_bridge() -> Rule {
    Rule("past the bridge", "iifname \"bgr*\" drop".to_owned())
}

/// The table's rules, and its sets without what the policy puts into them.
pub(super) fn part(install: &Install, policy: &NetworkPolicy) -> Part {
    let ipv6 = policy.ipv6;
    let mut sets = String::new();
    elements::write_guests(install, GUESTS, &BTreeSet::new(), ipv6, &mut sets);
    elements::write_egress(install, &Egress::default(), ipv6, &mut sets);
    let names = elements::names(&NAMES, ipv6).into_iter();
    Part {
        family: FAMILY,
        sets,
        chains: chains(install, policy.isolated, ipv6).into(),
        counted: names.map(Counted::Definition).collect(),
    }
}

/// The policy in the table, if its rules have the names that [`write`] gives them.
pub(super) fn read(install: &Install, table: &Listing) -> Option<NetworkPolicy> {
    let names = |ipv6| elements::names(&NAMES, ipv6);
    let present = table.sets(FAMILY);
    let ipv6 = [false, true].into_iter().find(|&it| names(it) == present)?;
    let sets = elements::gather(table, FAMILY, &present);
    let stands = |isolated| all_stand(table, FAMILY, &chains(install, isolated, ipv6));
    let isolated = !stands(false);
    if isolated && !stands(true) {
        return None;
    }
    Some(NetworkPolicy {
        guests: elements::guests(install, GUESTS, ipv6, &sets)?,
        egress: elements::egress(install, ipv6, &sets)?,
        isolated,
        ipv6,
    })
}
