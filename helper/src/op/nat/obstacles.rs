//! Rules of others that keep guests' packets from being forwarded. A packet
//! passes only if every table lets it, so that our own accept doesn't help
//! against somebody else's drop.
//!
//! Two packets are followed through every chain at the hook `forward`: the
//! first of a connection that a guest begins, and an answer to it. Of a rule
//! that can't be told it is believed that it accepts what it names, and drops
//! nothing: better an obstacle unseen than a false alarm for ever. Rules of
//! iptables-legacy aren't in nft's list.

use std::collections::BTreeMap;

use banger_protocol::{Firewall, Install, Obstacle, Way};
use ipnet::Ipv4Net;
use serde_json::Value;

use super::listing::Listing;

/// Jumps within jumps, as the kernel has it (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: u32 = 16;
/// Rules that are looked at for one packet.
const LONGEST: u32 = 20_000;
/// Obstacles that are told.
const MOST: usize = 8;

/// Every obstacle, in the order of the list.
pub(super) fn find(ruleset: &Listing, install: &Install) -> Vec<Obstacle> {
    let chains = Chains::of(ruleset);
    let mut found = Vec::new();
    for base in ruleset.objects("chain") {
        let of_ours = base["family"] == "inet" && base["table"] == "banger";
        let sees_ipv4 = base["family"] == "ip" || base["family"] == "inet";
        if of_ours || !sees_ipv4 || base["hook"] != "forward" {
            continue;
        }
        let Some(place) = Place::of(base, "name") else {
            continue;
        };
        for way in [Way::Out, Way::Back] {
            let mut packet = Packet {
                way,
                bridge: &install.bridge,
                subnet: install.subnet,
                chains: &chains,
                left: LONGEST,
            };
            let dropped = match packet.walk(place, DEEPEST) {
                Some(Fate::Accepted) => continue,
                Some(Fate::Dropped { chain, rule }) => (chain, rule),
                None if base["policy"] == "drop" => (place.chain.to_owned(), None),
                None => continue,
            };
            if found.len() < MOST {
                found.push(Obstacle {
                    firewall: chains.firewall(place),
                    way,
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

    /// Whose a table is. Docker first: its own chain for exceptions comes
    /// before everything else in the same table.
    fn firewall(&self, place: Place<'_>) -> Firewall {
        let there = |begins: &str| {
            let same = |it: &&Place<'_>| it.family == place.family && it.table == place.table;
            self.0
                .keys()
                .filter(same)
                .any(|it| it.chain.starts_with(begins))
        };
        if place.table == "firewalld" {
            Firewall::Firewalld
        } else if there("DOCKER-USER") {
            Firewall::Docker
        } else if there("ufw-") {
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

/// Whether a rule is about a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    /// It depends on what can't be told.
    Perhaps,
    No,
}

/// A packet on its way.
struct Packet<'a, 'v> {
    way: Way,
    bridge: &'a str,
    subnet: Ipv4Net,
    chains: &'a Chains<'v>,
    left: u32,
}

impl<'v> Packet<'_, 'v> {
    /// Through a chain; `None`: back to where it came from.
    fn walk(&mut self, place: Place<'v>, depth: u32) -> Option<Fate> {
        let chains = self.chains;
        for rule in chains.0.get(&place)? {
            self.left = self.left.checked_sub(1)?;
            let mut fit = Fit::Yes;
            // Whether it is about our bridge by name.
            let mut named = false;
            for statement in rule["expr"].as_array()? {
                let (kind, value) = statement.as_object()?.iter().next()?;
                let verdict = match kind.as_str() {
                    "match" => {
                        let one = self.fits(value, &mut named);
                        fit = worse(fit, one);
                        None
                    }
                    "xt" => match xt(value) {
                        Some(verdict) => Some(verdict),
                        // Likely the states of a connection: they are asked for by answers.
                        None if self.way == Way::Back => {
                            fit = worse(fit, Fit::Perhaps);
                            None
                        }
                        None => {
                            fit = Fit::No;
                            None
                        }
                    },
                    "vmap" => self.mapped(value),
                    "counter" | "log" | "mangle" | "notrack" => None,
                    "accept" | "drop" | "reject" | "return" | "jump" | "goto" | "queue" => {
                        Some((kind.as_str(), value))
                    }
                    // Such as `limit`: it isn't about every packet.
                    _ => {
                        fit = Fit::No;
                        None
                    }
                };
                if fit == Fit::No {
                    break;
                }
                let Some((verdict, value)) = verdict else {
                    continue;
                };
                let target = || {
                    Some(Place {
                        chain: value["target"].as_str()?,
                        ..place
                    })
                };
                match verdict {
                    // Userspace decides: it can't be told.
                    "accept" | "queue" => return Some(Fate::Accepted),
                    // What only perhaps is about the packet isn't followed.
                    _ if fit == Fit::Perhaps => {}
                    "return" => return None,
                    "jump" | "goto" if depth == 0 => return None,
                    "jump" => {
                        let fate = target().and_then(|to| self.walk(to, depth - 1));
                        if fate.is_some() {
                            return fate;
                        }
                    }
                    "goto" => return target().and_then(|to| self.walk(to, depth - 1)),
                    _ => {
                        return Some(Fate::Dropped {
                            chain: place.chain.to_owned(),
                            rule: rule["handle"].as_u64(),
                        });
                    }
                }
                break;
            }
        }
        None
    }

    fn fits(&self, of: &Value, named: &mut bool) -> Fit {
        let not = of["op"] == "!=";
        let left = &of["left"];
        let fit = if let Some(key) = left["meta"]["key"].as_str() {
            match key {
                "iifname" | "iif" => self.interface(Way::Out, &of["right"], not, named),
                "oifname" | "oif" => self.interface(Way::Back, &of["right"], not, named),
                "nfproto" | "protocol" => {
                    is(names(&of["right"]).any(|it| it == "ipv4" || it == "ip"))
                }
                _ => return Fit::No,
            }
        } else if left["ct"]["key"] == "state" {
            is(names(&of["right"]).any(|it| it == self.state()))
        } else if left["payload"]["protocol"] == "ip" {
            let guests = match self.way {
                Way::Out => "saddr",
                Way::Back => "daddr",
            };
            if left["payload"]["field"] != guests {
                return Fit::No;
            }
            match network(&of["right"]) {
                Some(all) if all.contains(&self.subnet) => Fit::Yes,
                Some(other) if !self.subnet.contains(&other) => Fit::No,
                _ => return Fit::No,
            }
        } else {
            return Fit::No;
        };
        match (fit, not) {
            (Fit::Yes, true) => Fit::No,
            (Fit::No, true) => Fit::Yes,
            (fit, _) => fit,
        }
    }

    /// On the near side of its way the packet has our bridge; on the far side
    /// an interface that can't be told, and isn't our bridge.
    fn interface(&self, near: Way, right: &Value, not: bool, named: &mut bool) -> Fit {
        if right.as_str().is_some_and(|it| it.starts_with('@')) {
            return Fit::No;
        }
        let ours = names(right).any(|it| match it.strip_suffix('*') {
            Some(begins) => self.bridge.starts_with(begins),
            None => it == self.bridge,
        });
        if self.way == near {
            *named |= ours && !not;
            return is(ours);
        }
        match (ours, not, *named) {
            (true, _, _) | (_, true, _) => Fit::No,
            (_, _, true) => Fit::Perhaps,
            _ => Fit::No,
        }
    }

    const fn state(&self) -> &'static str {
        match self.way {
            Way::Out => "new",
            Way::Back => "established",
        }
    }

    /// The verdict of a map, where its key can be told.
    fn mapped(&self, map: &'v Value) -> Option<(&'v str, &'v Value)> {
        let key = &map["key"];
        let value = if key["ct"]["key"] == "state" {
            self.state()
        } else {
            match (key["meta"]["key"].as_str()?, self.way) {
                ("iifname" | "iif", Way::Out) | ("oifname" | "oif", Way::Back) => self.bridge,
                _ => return None,
            }
        };
        let pairs = map["data"]["set"].as_array()?;
        let pair = pairs.iter().find(|pair| pair[0] == value)?;
        let (kind, value) = pair[1].as_object()?.iter().next()?;
        Some((kind.as_str(), value))
    }
}

const fn is(so: bool) -> Fit {
    if so { Fit::Yes } else { Fit::No }
}

const fn worse(a: Fit, b: Fit) -> Fit {
    match (a, b) {
        (Fit::No, _) | (_, Fit::No) => Fit::No,
        (Fit::Perhaps, _) | (_, Fit::Perhaps) => Fit::Perhaps,
        _ => Fit::Yes,
    }
}

/// A value, or those of a list or set.
fn names(right: &Value) -> impl Iterator<Item = &str> {
    let all = right.as_array().or_else(|| right["set"].as_array());
    let all = all.map_or(std::slice::from_ref(right), Vec::as_slice);
    all.iter().filter_map(Value::as_str)
}

fn network(right: &Value) -> Option<Ipv4Net> {
    let prefix = &right["prefix"];
    let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
    Ipv4Net::new(prefix["addr"].as_str()?.parse().ok()?, length).ok()
}

/// The verdict of an extension of iptables'; `None`: it is a match, or not told.
fn xt(value: &Value) -> Option<(&'static str, &Value)> {
    let drops = value["type"] == "target" && (value["name"] == "REJECT" || value["name"] == "DROP");
    drops.then_some(("drop", value))
}

#[cfg(test)]
mod tests;
