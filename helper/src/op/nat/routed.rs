//! Table `inet banger`: what passes between the bridge and the rest, and what
//! of the host itself guests may reach.
//!
//! A guest's frame to a link-local group address (IEEE 802.1Q, table 8-1) isn't
//! bridged but handed up from the tap itself: what comes in by a tap and not by
//! the bridge is dropped first.

use std::net::Ipv4Addr;

use banger_protocol::slot::gateway;
use banger_protocol::{Install, NetworkPolicy};

use super::chain::{Chain, Rule, all_stand};
use super::elements::{self, SETS};
use super::listing::Listing;

pub(super) const FAMILY: &str = "inet";

/// The transaction that writes the table: make sure that there is one, delete
/// it, write it anew.
pub(super) fn write(install: &Install, policy: &NetworkPolicy, text: &mut String) {
    text.push_str("add table inet banger\ndelete table inet banger\ntable inet banger {\n");
    let guests = policy
        .guests
        .iter()
        .filter_map(|it| it.address(install.subnet));
    elements::write_addresses("guests", guests, text);
    elements::write_egress(install, &policy.egress, text);
    for chain in chains(install, policy.isolated) {
        chain.write(text);
    }
    text.push_str("}\n");
}

fn chains(install: &Install, isolated: bool) -> [Chain; 3] {
    let bridge = &install.bridge;
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
            rules: vec![Rule(
                "behind the host",
                format!("ip saddr @guests oifname != \"{bridge}\" masquerade"),
            )],
        },
        filter("forward", forward(bridge, isolated)),
        filter("input", input(bridge, gateway(install.subnet))),
    ]
}

fn forward(bridge: &str, isolated: bool) -> Vec<Rule> {
    let mut rules = vec![past_the_bridge()];
    let among = format!("iifname \"{bridge}\" oifname \"{bridge}\"");
    if isolated {
        rules.push(Rule("guests apart", format!("{among} drop")));
    }
    rules.extend([
        Rule(
            "answers",
            format!("oifname \"{bridge}\" ct state established,related accept"),
        ),
        Rule(
            "egress",
            format!("iifname \"{bridge}\" {} drop", elements::BEYOND_EGRESS),
        ),
    ]);
    if !isolated {
        rules.push(Rule("among guests", format!("{among} accept")));
    }
    rules.extend([
        Rule(
            "out",
            format!("iifname \"{bridge}\" ip saddr @guests accept"),
        ),
        Rule("no way out", format!("iifname \"{bridge}\" drop")),
        Rule("no way in", format!("oifname \"{bridge}\" drop")),
    ]);
    rules
}

/// DNS is beyond an egress policy unless that names the bridge's address:
/// whoever may ask for any name can send anything in names.
fn input(bridge: &str, gateway: Ipv4Addr) -> Vec<Rule> {
    let rule = |name, words: &str| Rule(name, words.to_owned());
    vec![
        past_the_bridge(),
        Rule("not a guest", format!("iifname != \"{bridge}\" accept")),
        rule("answers", "ct state established,related accept"),
        rule("ping", "icmp type echo-request accept"),
        Rule("egress", format!("{} drop", elements::BEYOND_EGRESS)),
        Rule("DNS", format!("ip daddr {gateway} udp dport 53 accept")),
        Rule(
            "DNS, long",
            format!("ip daddr {gateway} tcp dport 53 accept"),
        ),
        rule("nothing else", "drop"),
    ]
}

fn past_the_bridge() -> Rule {
    Rule("past the bridge", "iifname \"bgr*\" drop".to_owned())
}

/// The policy in the table, if the table is as [`write`] writes it.
pub(super) fn read(install: &Install, table: &Listing) -> Option<NetworkPolicy> {
    if table.sets(FAMILY) != [SETS[0], SETS[1], "guests"] {
        return None;
    }
    let guests = elements::addresses(install, table.elements(FAMILY, "guests")?)?;
    let egress = elements::egress(install, table, FAMILY)?;
    let stands = |isolated| all_stand(table, FAMILY, &chains(install, isolated));
    let isolated = !stands(false);
    if isolated && !stands(true) {
        return None;
    }
    Some(NetworkPolicy {
        guests,
        egress,
        isolated,
    })
}
