//! Table `bridge banger`: which MAC and address belong to which tap, and which
//! guests may speak with one another.
//!
//! A guest's frames pass only if they carry its slot's addresses, in ARP twice:
//! as the frame's sender and as the one that the packet tells of. That follows
//! from the slots alone, so that its set of a thousand is written once per
//! boot; what follows from the policy is replaced apart, in the transaction
//! that replaces the other table.
//!
//! Of IPv6 a guest has its slot's address, and the link-local address that
//! follows from its MAC, this one to ask its neighbours and to answer them alone
//! (RFC 4861). What it tells its neighbours must be of itself, too. Nothing else
//! of that protocol passes: a guest is nobody's router, and in no multicast
//! group that a bridge would have to know of.
//!
//! VLAN tags and other protocols of a guest are dropped with the rest, and so is
//! IPv6 where guests have none: no address of theirs could be checked.

use std::fmt::Write as _;

use banger_protocol::ula::link_local;
use banger_protocol::{Egress, Install, NetworkPolicy, Slot};

use super::chain::{Chain, REVISION, Rule, all_stand};
use super::elements::{self, SETS};
use super::family::Family;
use super::listing::Listing;
use super::reference::{Counted, Part};
use crate::{Failure, Host};

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
    /// The seats are as they should be, with IPv6 or without; the rest isn't.
    Seats {
        /// Whether guests have IPv6.
        ipv6: bool,
    },
    /// As [`write`] writes it for this policy.
    Whole {
        /// What guests may begin.
        egress: Egress,
        /// Whether they are apart.
        isolated: bool,
        /// Whether they have IPv6.
        ipv6: bool,
    },
}

impl Found {
    /// Whether the seats are as they should be.
    fn is_seated(&self, wanted: bool) -> bool {
        match self {
            Self::Foreign => false,
            Self::Seats { ipv6 } | Self::Whole { ipv6, .. } => *ipv6 == wanted,
        }
    }
}

/// The transaction that makes the table of this policy, whatever is `found`.
pub(super) fn write(
    install: &Install,
    policy: &NetworkPolicy,
    found: &Found,
    answers: Answers,
    text: &mut String,
) {
    let ipv6 = policy.ipv6;
    if found.is_seated(ipv6) {
        text.push_str("flush chain bridge banger crossing\n");
        for set in elements::names(&SETS, ipv6) {
            let _ = writeln!(text, "flush set bridge banger {set}");
        }
    } else {
        text.push_str("add table bridge banger\ndelete table bridge banger\n");
        text.push_str("table bridge banger {\n");
        write_seats(install, ipv6, text);
        ports(ipv6).write(text);
        text.push_str("}\n");
    }
    text.push_str("table bridge banger {\n");
    elements::write_egress(install, &policy.egress, ipv6, text);
    let shape = Shape {
        isolated: policy.isolated,
        confined: !policy.egress.is_empty(),
        answers,
        ipv6,
    };
    shape.crossing().write(text);
    text.push_str("}\n");
}

/// Where each guest sits: tap, MAC and address.
const SEATS: &str = "seats";
/// What a guest may tell of itself: tap, MAC, and address or link-local address.
/// As numbers, because nft of Debian 12 has no words for the fields of RFC 4861.
const NEIGHBOURS: &str = "neighbours6";

fn write_seats(install: &Install, ipv6: bool, text: &mut String) {
    let comment = comment(install, ipv6);
    let slots = || (1..=install.slots).filter_map(|n| Slot::try_from(n).ok());
    for family in Family::all(ipv6) {
        let of = |slot: Slot| {
            let mac = slot.mac(install.subnet)?;
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            let address = family.address(install, slot)?;
            Some(format!("\"{}\" . {mac} . {address}", slot.tap()))
        };
        let key = format!("iifname . ether saddr . {} saddr", family.word());
        let name = family.set(SEATS);
        write_set(&name, &key, &comment, slots().filter_map(of), text);
    }
    if ipv6 {
        let of = |slot: Slot| {
            let mac = slot.mac(install.subnet)?;
            let number = mac
                .iter()
                .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
            Some([install.ula().guest(slot), link_local(mac)].map(|address| {
                let address = u128::from(address);
                format!("\"{}\" . {number:#x} . {address:#x}", slot.tap())
            }))
        };
        let elements = slots().filter_map(of).flatten();
        write_set(NEIGHBOURS, LINK_SOURCE, &comment, elements, text);
    }
}

fn write_set(
    name: &str,
    key: &str,
    comment: &str,
    elements: impl Iterator<Item = String>,
    text: &mut String,
) {
    let _ = writeln!(text, "  set {name} {{\n    typeof {key}");
    let _ = writeln!(text, "    comment \"{comment}\"\n    elements = {{");
    for element in elements {
        let _ = writeln!(text, "      {element},");
    }
    text.push_str("    }\n  }\n");
}

/// What the seats follow from.
fn comment(install: &Install, ipv6: bool) -> String {
    let Install { slots, subnet, .. } = install;
    let mut comment = format!("{REVISION}: {slots} seats in {subnet}");
    if ipv6 {
        let _ = write!(comment, " and {}", install.ula());
    }
    comment
}

/// Who sends: the frame's MAC, the packet's address.
const LINK_SOURCE: &str = "iifname . @ll,48,48 . @nh,64,128";
/// The frame's MAC, and the target that an answer tells of (RFC 4861, 4.4).
const LINK_TARGET: &str = "iifname . @ll,48,48 . @th,64,128";
/// The MAC in an option, the packet's address.
const OPTION_SOURCE: &str = "iifname . @th,208,48 . @nh,64,128";
/// The MAC in an option, and the target that an answer tells of.
const OPTION_TARGET: &str = "iifname . @th,208,48 . @th,64,128";

/// ICMPv6 (RFC 4443, 1). Its name is known only where there is /etc/protocols,
/// which a Debian without netbase lacks.
const ICMP: u8 = 58;

fn ports(ipv6: bool) -> Chain {
    let rule = |name, words: &str| Rule(name, words.to_owned());
    // A message of this type with no option, or with one that is this long
    // (RFC 4861, 4.3, 4.4 and 4.6.1), and who it is of.
    let neighbours = |name, kind: &str, option: &str, who: &[&str]| {
        let who: Vec<String> = who.iter().map(|it| format!("{it} @{NEIGHBOURS}")).collect();
        let who = who.join(" ");
        let words = format!(
            "ether type ip6 ip6 nexthdr {ICMP} ip6 hoplimit 255 icmpv6 type {kind} {option} \
             {who} accept"
        );
        Rule(name, words)
    };
    let mut rules = vec![
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
    ];
    if ipv6 {
        rules.extend([
            neighbours(
                "own question",
                "nd-neighbor-solicit",
                "ip6 length 32 @th,192,16 0x0101",
                &[LINK_SOURCE, OPTION_SOURCE],
            ),
            neighbours(
                "own answer",
                "nd-neighbor-advert",
                "ip6 length 32 @th,192,16 0x0201",
                &[LINK_SOURCE, OPTION_TARGET],
            ),
            neighbours(
                "own short answer",
                "nd-neighbor-advert",
                "ip6 length 24",
                &[LINK_SOURCE, LINK_TARGET],
            ),
            rule(
                "no router, no group",
                "ether type ip6 icmpv6 type { 130-137, 143 } drop",
            ),
            rule(
                "own IPv6 address",
                "ether type ip6 iifname . ether saddr . ip6 saddr @seats6 accept",
            ),
        ]);
    }
    rules.push(rule("nothing else", "drop"));
    Chain {
        name: "ports",
        kind: "filter",
        hook: "prerouting",
        priority: FILTER,
        rules,
    }
}

/// What the rules between guests follow from.
#[derive(Clone, Copy)]
struct Shape {
    isolated: bool,
    confined: bool,
    answers: Answers,
    ipv6: bool,
}

impl Shape {
    /// Every one that [`write`] writes.
    fn all(ipv6: bool) -> [Self; 4] {
        [
            (false, false, Answers::Untracked),
            (true, false, Answers::Untracked),
            (false, true, Answers::Tracked),
            (false, true, Answers::Untracked),
        ]
        .map(|(isolated, confined, answers)| Self {
            isolated,
            confined,
            answers,
            ipv6,
        })
    }

    /// The rules between guests.
    fn part(self, install: &Install) -> Part {
        let mut sets = String::new();
        elements::write_egress(install, &Egress::default(), self.ipv6, &mut sets);
        Part {
            family: FAMILY,
            sets,
            chains: vec![self.crossing()],
            counted: Vec::new(),
        }
    }

    /// Frames from guest to guest. Connections are tracked here only where a
    /// policy needs it.
    fn crossing(self) -> Chain {
        let rule = |name, words: &str| Rule(name, words.to_owned());
        let mut rules = Vec::new();
        if self.isolated {
            rules.push(rule(
                "guests apart",
                "iifname \"bgr*\" oifname \"bgr*\" drop",
            ));
        } else if self.confined {
            rules.push(rule("ARP", "ether type arp accept"));
            if self.ipv6 {
                rules.push(rule(
                    "neighbours",
                    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
                ));
            }
            if self.answers == Answers::Tracked {
                rules.push(rule("answers", "ct state established,related accept"));
            }
            for family in Family::all(self.ipv6) {
                let words = format!("{} drop", elements::beyond_egress(*family));
                rules.push(Rule("egress", words));
            }
        }
        Chain {
            name: "crossing",
            kind: "filter",
            hook: "forward",
            priority: FILTER,
            rules,
        }
    }
}

/// Compares the table with what [`write`] writes.
pub(super) async fn read(host: &Host, ruleset: &Listing) -> Result<Found, Failure> {
    if !ruleset.has_table(FAMILY) {
        return Ok(Found::Foreign);
    }
    let install = &host.install;
    let table = Listing::table(FAMILY).await?;
    let Some(ipv6) = [false, true]
        .into_iter()
        .find(|&it| seated(install, it, &table))
    else {
        return Ok(Found::Foreign);
    };
    let stands = |shape: &Shape| all_stand(&table, FAMILY, &[ports(ipv6), shape.crossing()]);
    let shape = Shape::all(ipv6).into_iter().find(stands);
    if shape.is_none() && !only_crossing_differs(&table, ipv6) {
        return Ok(Found::Foreign);
    }
    let references = &host.references;
    if !references.stands(&fixed(install, ipv6), &table).await? {
        return Ok(Found::Foreign);
    }
    let Some(shape) = shape else {
        return Ok(Found::Seats { ipv6 });
    };
    if !references.stands(&shape.part(install), &table).await? {
        return Ok(Found::Seats { ipv6 });
    }
    let sets = elements::gather(&table, FAMILY, &elements::names(&SETS, ipv6));
    let isolated = shape.isolated;
    Ok(match elements::egress(install, ipv6, &sets) {
        // Guests that are apart need no rule of their policies.
        Some(egress) if isolated || egress.is_empty() != shape.confined => Found::Whole {
            egress,
            isolated,
            ipv6,
        },
        _ => Found::Seats { ipv6 },
    })
}

/// The sets that follow from the slots alone.
fn of_slots(ipv6: bool) -> Vec<String> {
    let mut names = elements::names(&[SEATS], ipv6);
    if ipv6 {
        names.push(NEIGHBOURS.to_owned());
    }
    names
}

/// What isn't replaced with the policy: the seats, their rules, and of which kind
/// the policy's sets are.
fn fixed(install: &Install, ipv6: bool) -> Part {
    let mut sets = String::new();
    write_seats(install, ipv6, &mut sets);
    elements::write_egress(install, &Egress::default(), ipv6, &mut sets);
    let whole = of_slots(ipv6).into_iter().map(Counted::Whole);
    let of_policy = elements::names(&SETS, ipv6);
    Part {
        family: FAMILY,
        sets,
        chains: vec![ports(ipv6)],
        counted: whole
            .chain(of_policy.into_iter().map(Counted::Definition))
            .collect(),
    }
}

/// Whether every set is there by its name, and the seats follow from what they should.
fn seated(install: &Install, ipv6: bool, table: &Listing) -> bool {
    let comment = comment(install, ipv6);
    let mut fixed = of_slots(ipv6);
    let stands = |name: &String| {
        table
            .ours(FAMILY, "set")
            .any(|set| set["name"] == name.as_str() && set["comment"] == comment.as_str())
    };
    let seats = fixed.iter().all(stands);
    let mut names = elements::names(&SETS, ipv6);
    names.append(&mut fixed);
    names.sort_unstable();
    seats && table.sets(FAMILY) == names
}

/// Whether the chain of the seats, at least, is as it should be, and the other
/// one is there with its hook, so that its rules can be replaced.
fn only_crossing_differs(table: &Listing, ipv6: bool) -> bool {
    let [empty, ..] = Shape::all(ipv6).map(Shape::crossing);
    let hooked = table
        .ours(FAMILY, "chain")
        .any(|it| it["name"] == empty.name && it["hook"] == empty.hook);
    hooked && ports(ipv6).stands(table, FAMILY) && table.ours(FAMILY, "chain").count() == 2
}
