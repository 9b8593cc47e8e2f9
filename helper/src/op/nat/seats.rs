//! Table `bridge banger`: which MAC and address belong to which tap, and which
//! guests may speak with one another.
//!
//! A guest's frames pass only if they carry its slot's addresses, in ARP twice:
//! as the frame's sender and as the one that the packet tells of. That follows
//! from the slots alone, so that its set of a thousand is written once per
//! boot; what follows from the policy is replaced apart, in the transaction
//! that replaces the other table.
//!
//! IPv6, VLAN tags and other protocols of a guest are dropped with the rest:
//! no address of theirs could be checked.

use std::fmt::Write as _;

use banger_protocol::{Egress, Install, NetworkPolicy, Slot};

use super::chain::{Chain, REVISION, Rule, all_stand};
use super::elements::{self, SETS};
use super::listing::Listing;
use crate::Failure;

pub(super) const FAMILY: &str = "bridge";
/// `filter` of the bridge family (nft(8), "Standard priority names").
const FILTER: i64 = -200;

/// Whether answers to a guest with an egress policy can be told from what it
/// begins. Not every kernel tracks connections across a bridge
/// (`CONFIG_NF_CONNTRACK_BRIDGE`); without it such a guest sends nothing but
/// what its policy names, answers included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// They pass.
    Tracked,
    /// They can't be told.
    Untracked,
}

/// What the table is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Missing, or not of this installation and revision.
    Foreign,
    /// The seats are as they should be, the rest isn't.
    Seats,
    /// As [`write`] writes it for this policy.
    Whole(Egress, bool),
}

/// The transaction that makes the table of this policy, whatever is `found`.
pub(super) fn write(
    install: &Install,
    policy: &NetworkPolicy,
    found: &Found,
    answers: Answers,
    text: &mut String,
) {
    if *found == Found::Foreign {
        text.push_str("add table bridge banger\ndelete table bridge banger\n");
        text.push_str("table bridge banger {\n");
        write_seats(install, text);
        ports().write(text);
        text.push_str("}\n");
    } else {
        text.push_str("flush chain bridge banger crossing\n");
        for set in SETS {
            let _ = writeln!(text, "flush set bridge banger {set}");
        }
    }
    text.push_str("table bridge banger {\n");
    elements::write_egress(install, &policy.egress, text);
    crossing(policy.isolated, !policy.egress.is_empty(), answers).write(text);
    text.push_str("}\n");
}

fn write_seats(install: &Install, text: &mut String) {
    text.push_str("  set seats {\n    typeof iifname . ether saddr . ip saddr\n");
    let _ = writeln!(text, "    comment \"{}\"", comment(install));
    text.push_str("    elements = {\n");
    for slot in (1..=install.slots).filter_map(|n| Slot::try_from(n).ok()) {
        if let (Some(address), Some(mac)) = (slot.address(install.subnet), slot.mac(install.subnet))
        {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            let _ = writeln!(text, "      \"{}\" . {mac} . {address},", slot.tap());
        }
    }
    text.push_str("    }\n  }\n");
}

/// What the seats follow from.
fn comment(install: &Install) -> String {
    format!("{REVISION}: {} seats in {}", install.slots, install.subnet)
}

fn ports() -> Chain {
    let rule = |name, words: &str| Rule(name, words.to_owned());
    Chain {
        name: "ports",
        kind: "filter",
        hook: "prerouting",
        priority: FILTER,
        rules: vec![
            rule("not a guest", "iifname != \"bgr*\" accept"),
            rule(
                "own address",
                "ether type ip iifname . ether saddr . ip saddr @seats accept",
            ),
            rule(
                "own ARP",
                "ether type arp arp operation { request, reply } \
                 iifname . ether saddr . arp saddr ip @seats \
                 iifname . arp saddr ether . arp saddr ip @seats accept",
            ),
            rule("nothing else", "drop"),
        ],
    }
}

/// Frames from guest to guest. Connections are tracked here only where a
/// policy needs it.
fn crossing(isolated: bool, confined: bool, answers: Answers) -> Chain {
    let rule = |name, words: &str| Rule(name, words.to_owned());
    let mut rules = Vec::new();
    if isolated {
        rules.push(rule(
            "guests apart",
            "iifname \"bgr*\" oifname \"bgr*\" drop",
        ));
    } else if confined {
        rules.push(rule("ARP", "ether type arp accept"));
        if answers == Answers::Tracked {
            rules.push(rule("answers", "ct state established,related accept"));
        }
        let words = format!("{} drop", elements::BEYOND_EGRESS);
        rules.push(Rule("egress", words));
    }
    Chain {
        name: "crossing",
        kind: "filter",
        hook: "forward",
        priority: FILTER,
        rules,
    }
}

/// Compares the table with what [`write`] writes. `ruleset` may lack the
/// elements of sets; those of the policy are asked for where there are any.
pub(super) async fn read(install: &Install, ruleset: &Listing) -> Result<Found, Failure> {
    let seats = ruleset
        .ours(FAMILY, "set")
        .any(|set| set["name"] == "seats" && set["comment"] == comment(install).as_str());
    let named = ruleset.sets(FAMILY) == [SETS[0], SETS[1], "seats"];
    let shapes = [
        (false, false, Answers::Untracked),
        (true, false, Answers::Untracked),
        (false, true, Answers::Tracked),
        (false, true, Answers::Untracked),
    ];
    let stands = |isolated, confined, answers| {
        let chains = [ports(), crossing(isolated, confined, answers)];
        all_stand(ruleset, FAMILY, &chains)
    };
    if !seats || !named {
        return Ok(Found::Foreign);
    }
    let mut shapes = shapes.into_iter();
    let Some((isolated, confined, _)) = shapes.find(|&(a, b, c)| stands(a, b, c)) else {
        return Ok(match only_crossing_differs(ruleset) {
            true => Found::Seats,
            false => Found::Foreign,
        });
    };
    let set = |name| Listing::set(FAMILY, name);
    let (addresses, networks) = (set(SETS[0]).await?, set(SETS[1]).await?);
    let egress = addresses
        .elements(FAMILY, SETS[0])
        .and_then(|all| elements::addresses(install, all))
        .zip(networks.elements(FAMILY, SETS[1]))
        .and_then(|(guests, all)| elements::pairs(install, guests, all));
    Ok(match egress {
        // Guests that are apart need no rule of their policies.
        Some(egress) if isolated || egress.is_empty() != confined => Found::Whole(egress, isolated),
        _ => Found::Seats,
    })
}

/// Whether the chain of the seats, at least, is as it should be, and the other
/// one is there with its hook, so that its rules can be replaced.
fn only_crossing_differs(ruleset: &Listing) -> bool {
    let empty = crossing(false, false, Answers::Untracked);
    let hooked = ruleset
        .ours(FAMILY, "chain")
        .any(|it| it["name"] == empty.name && it["hook"] == empty.hook);
    hooked && ports().stands(ruleset, FAMILY) && ruleset.ours(FAMILY, "chain").count() == 2
}
