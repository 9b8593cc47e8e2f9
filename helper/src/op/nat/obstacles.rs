//! Rules of others that keep guests' packets from where they are to go. A packet
//! passes only if every table lets it, so that our own accept doesn't help
//! against somebody else's drop.
//!
//! Packets are followed through every chain of their family: at the hook
//! `forward` the first of a connection that a guest begins, and an answer to it;
//! at the hook `input` what a guest needs of the host itself; at the hook
//! `output` what the host sends to a guest. Of a rule that can't be told it is
//! believed that it accepts what it names, and drops nothing: better an obstacle
//! unseen than a false alarm for ever. Rules of iptables-legacy aren't in nft's
//! list: that there are some is told apart ([`super::legacy`]).

mod packet;

use std::collections::BTreeMap;

use banger_protocol::{Family, Firewall, Install, Obstacle, Way};
use serde_json::Value;

use self::packet::{Fit, Packet, xt};
use super::listing::Listing;

/// Jumps within jumps, as the kernel has it (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: u32 = 16;
/// Rules that are looked at for one packet.
const LONGEST: u32 = 20_000;
/// Obstacles that are told.
const MOST: usize = 16;

/// Every obstacle, in the order of the list. Whether guests send such packets
/// at all is for whoever asks to know: not all have IPv6.
pub(super) fn find(ruleset: &Listing, install: &Install) -> Vec<Obstacle> {
    let chains = Chains::of(ruleset);
    let mut found = Vec::new();
    for base in ruleset.objects("chain") {
        if base["family"] == "inet" && base["table"] == "banger" {
            continue;
        }
        let families: &[Family] = match base["family"].as_str() {
            Some("ip") => &[Family::Ipv4],
            Some("ip6") => &[Family::Ipv6],
            Some("inet") => &[Family::Ipv4, Family::Ipv6],
            _ => continue,
        };
        let ways: &[Way] = match base["hook"].as_str() {
            Some("forward") => &[Way::Out, Way::Back],
            Some("input") => &[Way::Host],
            Some("output") => &[Way::Guest],
            _ => continue,
        };
        let Some(place) = Place::of(base, "name") else {
            continue;
        };
        let all = families
            .iter()
            .flat_map(|family| ways.iter().map(move |way| (*family, *way)));
        for (family, way) in all {
            let mut walk = Walk {
                packet: Packet::of(install, family, way),
                chains: &chains,
                left: LONGEST,
            };
            let dropped = match walk.through(place, DEEPEST) {
                Some(Fate::Accepted) => continue,
                Some(Fate::Dropped { chain, rule }) => (chain, rule),
                None if base["policy"] == "drop" => (place.chain.to_owned(), None),
                None => continue,
            };
            if found.len() < MOST {
                found.push(Obstacle {
                    firewall: chains.firewall(place, way),
                    way,
                    family,
                    bridge: install.bridge.clone(),
                    table: format!("{} {}", place.family, place.table),
                    chain: dropped.0,
                    rule: dropped.1,
                });
            }
        }
    }
    found
}

/// Where a chain is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'v> {
    family: &'v str,
    table: &'v str,
    chain: &'v str,
}

impl<'v> Place<'v> {
    fn of(object: &'v Value, chain: &str) -> Option<Self> {
        Some(Self {
            family: object["family"].as_str()?,
            table: object["table"].as_str()?,
            chain: object[chain].as_str()?,
        })
    }
}

/// The rules of every chain, in order.
struct Chains<'v>(BTreeMap<Place<'v>, Vec<&'v Value>>);

impl<'v> Chains<'v> {
    fn of(ruleset: &'v Listing) -> Self {
        let mut chains: BTreeMap<Place<'v>, Vec<&'v Value>> = BTreeMap::new();
        for chain in ruleset
            .objects("chain")
            .filter_map(|it| Place::of(it, "name"))
        {
            chains.entry(chain).or_default();
        }
        for rule in ruleset.objects("rule") {
            if let Some(place) = Place::of(rule, "chain") {
                chains.entry(place).or_default().push(rule);
            }
        }
        Self(chains)
    }

    /// Whose a table is. Docker first: its own chain for exceptions comes before
    /// everything else in the same table; but it leaves alone what is for the host, or of it.
    fn firewall(&self, place: Place<'_>, way: Way) -> Firewall {
        let there = |begins: &str| {
            let same = |it: &&Place<'_>| it.family == place.family && it.table == place.table;
            self.0
                .keys()
                .filter(same)
                .any(|it| it.chain.starts_with(begins))
        };
        if place.table == "firewalld" {
            Firewall::Firewalld
        } else if matches!(way, Way::Out | Way::Back) && there("DOCKER-USER") {
            Firewall::Docker
        } else if there("ufw-") || there("ufw6-") {
            Firewall::Ufw
        } else {
            Firewall::Other
        }
    }
}

/// What becomes of a packet.
enum Fate {
    Accepted,
    Dropped { chain: String, rule: Option<u64> },
}

/// A packet on its way.
struct Walk<'a, 'v> {
    packet: Packet<'a>,
    chains: &'a Chains<'v>,
    left: u32,
}

impl<'v> Walk<'_, 'v> {
    /// Through a chain; `None`: back to where it came from.
    fn through(&mut self, place: Place<'v>, depth: u32) -> Option<Fate> {
        let chains = self.chains;
        // It may have returned already: what comes then isn't sure to drop it.
        let mut doubt = false;
        for &rule in chains.0.get(&place)? {
            self.left = self.left.checked_sub(1)?;
            let fate = match self.verdict(rule)? {
                None | Some((Fit::No, ..)) => continue,
                // Userspace decides of what is queued: it can't be told.
                Some((Fit::Yes | Fit::Perhaps, "accept" | "queue", _)) => Some(Fate::Accepted),
                Some((Fit::Yes, "return", _)) => return None,
                Some((_, "return", _)) => {
                    doubt = true;
                    continue;
                }
                // What only perhaps is about the packet isn't followed.
                Some((Fit::Perhaps | Fit::Unlikely, ..)) => continue,
                Some((Fit::Yes, "jump" | "goto", _)) if depth == 0 => return None,
                Some((Fit::Yes, word @ ("jump" | "goto"), value)) => {
                    let target = value["target"].as_str();
                    let target = target.map(|chain| Place { chain, ..place });
                    let fate = target.and_then(|to| self.through(to, depth - 1));
                    if word == "jump" && fate.is_none() {
                        continue;
                    }
                    fate
                }
                Some((Fit::Yes, ..)) => Some(Fate::Dropped {
                    chain: place.chain.to_owned(),
                    rule: rule["handle"].as_u64(),
                }),
            };
            return fate.filter(|fate| !doubt || matches!(fate, Fate::Accepted));
        }
        None
    }

    /// What a rule says, and whether it is about the packet. `Some(None)`: it
    /// decides nothing; `None`: it isn't as rules are.
    fn verdict(&self, rule: &'v Value) -> Option<Option<(Fit, &'v str, &'v Value)>> {
        let mut fit = Fit::Yes;
        // Whether it names our bridge, or the very protocol of the packet.
        let mut named = false;
        for statement in rule["expr"].as_array()? {
            let (kind, value) = statement.as_object()?.iter().next()?;
            let verdict = match kind.as_str() {
                "match" => {
                    fit = fit.and(self.packet.fits(value, &mut named));
                    None
                }
                "xt" => {
                    let verdict = xt(value);
                    if verdict.is_none() {
                        fit = fit.and(self.packet.extension(named));
                    }
                    verdict
                }
                "vmap" => self.packet.mapped(value),
                "counter" | "log" | "mangle" | "notrack" => None,
                "accept" | "drop" | "reject" | "return" | "jump" | "goto" | "queue" => {
                    Some((kind.as_str(), value))
                }
                // Such as `limit`: it isn't about every packet.
                _ => return Some(None),
            };
            match verdict {
                _ if fit == Fit::No => return Some(None),
                Some((word, value)) => return Some(Some((fit, word, value))),
                None => {}
            }
        }
        Some(None)
    }
}

#[cfg(test)]
mod tests;
