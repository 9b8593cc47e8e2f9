//! The packets that are followed, and what matches of rules say of them
//! (libnftables-json(5)).

use std::net::IpAddr;

use banger_protocol::slot::gateway;
use banger_protocol::{Family, Install, Way};
use ipnet::IpNet;
use serde_json::Value;

/// Whether a rule is about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    Yes,
    /// It depends on what can't be told.
    Perhaps,
    /// Likewise; but such rules are nearly always about others.
    Unlikely,
    No,
}

impl Fit {
    /// Of a rule that has both.
    pub(super) fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

/// A guest's packet, or one for a guest.
///
/// At `forward` its protocol is any. What a guest sends to the host is over IPv4
/// a question to the DNS server (UDP, port 53 of the gateway), over IPv6 one for
/// the gateway's link-layer address, to a multicast address. What the host sends
/// to a guest is over IPv4 the first of a connection to its SSH server (TCP, port
/// 22), over IPv6 the answer to such a question.
pub(super) struct Packet<'a> {
    family: Family,
    way: Way,
    bridge: &'a str,
    guests: IpNet,
    gateway: IpAddr,
}

impl<'a> Packet<'a> {
    pub(super) fn of(install: &'a Install, family: Family, way: Way) -> Self {
        let (guests, gateway) = match family {
            Family::Ipv4 => (install.subnet.into(), gateway(install.subnet).into()),
            Family::Ipv6 => (install.ula().get().into(), install.ula().gateway().into()),
        };
        Self {
            family,
            way,
            bridge: &install.bridge,
            guests,
            gateway,
        }
    }

    /// `named`: set where the match names our bridge, or this packet's protocol.
    pub(super) fn fits(&self, of: &Value, named: &mut bool) -> Fit {
        let not = of["op"] == "!=";
        let (left, right) = (&of["left"], &of["right"]);
        let payload = &left["payload"];
        let fit = if let Some(key) = left["meta"]["key"].as_str() {
            match key {
                // What is of the host came in nowhere.
                "iifname" | "iif" if self.way == Way::Guest => Fit::No,
                "iifname" | "iif" => {
                    let near = self.way != Way::Back;
                    return self.interface(near, right, not, named);
                }
                // What is for the host goes out nowhere.
                "oifname" | "oif" if self.way == Way::Host => Fit::No,
                "oifname" | "oif" => {
                    let near = matches!(self.way, Way::Back | Way::Guest);
                    return self.interface(near, right, not, named);
                }
                "nfproto" | "protocol" => is(has(
                    right,
                    match self.family {
                        Family::Ipv4 => &["ipv4", "ip"],
                        Family::Ipv6 => &["ipv6", "ip6"],
                    },
                )),
                "l4proto" => return self.protocol(right, not, named),
                _ => return Fit::No,
            }
        } else if left["ct"]["key"] == "state" {
            is(has(right, self.states()))
        } else if left["fib"]["result"] == "type" && self.is_question() {
            if !has(&left["fib"]["flags"], &["daddr"]) {
                return Fit::No;
            }
            is(has(right, &["local"]))
        } else {
            match (payload["protocol"].as_str(), payload["field"].as_str()) {
                (Some("ip"), Some("protocol")) | (Some("ip6"), Some("nexthdr")) => {
                    return self.protocol(right, not, named);
                }
                (Some(protocol), Some(field)) if protocol == self.header() => {
                    match self.address(field, right) {
                        Some(fit) => fit,
                        None => return Fit::No,
                    }
                }
                (Some("udp" | "th"), Some("dport")) if self.is_question() => {
                    let ours = holds_port(right, 53, "domain");
                    *named |= ours && !not;
                    is(ours)
                }
                (Some("tcp" | "th"), Some("dport")) if self.is_connection() => {
                    let ours = holds_port(right, 22, "ssh");
                    *named |= ours && !not;
                    is(ours)
                }
                (Some("icmpv6"), Some("type")) if self.is_discovery() => {
                    let ours = has(
                        right,
                        match self.way {
                            Way::Guest => &["nd-neighbor-advert"],
                            _ => &["nd-neighbor-solicit"],
                        },
                    );
                    *named |= ours && !not;
                    is(ours)
                }
                _ => return Fit::No,
            }
        };
        match (fit, not) {
            (Fit::Yes, true) => Fit::No,
            (Fit::No, true) => Fit::Yes,
            (fit, _) => fit,
        }
    }

    /// A match of an extension of iptables': what it says can't be told. Mostly
    /// it is about the states of a connection: they are asked for by answers.
    pub(super) fn extension(&self, named: bool) -> Fit {
        match self.way {
            Way::Back => Fit::Perhaps,
            Way::Host | Way::Guest if named => Fit::Perhaps,
            Way::Out | Way::Host | Way::Guest => Fit::Unlikely,
        }
    }

    /// The verdict of a map, where its key can be told.
    pub(super) fn mapped<'v>(&self, map: &'v Value) -> Option<(&'v str, &'v Value)> {
        let key = &map["key"];
        let bridge = [self.bridge];
        let words: &[&str] = if key["ct"]["key"] == "state" {
            self.states()
        } else {
            match (key["meta"]["key"].as_str()?, self.way) {
                ("iifname" | "iif", Way::Out | Way::Host)
                | ("oifname" | "oif", Way::Back | Way::Guest) => &bridge,
                _ => return None,
            }
        };
        let pairs = map["data"]["set"].as_array()?;
        let pair = pairs.iter().find(|pair| has(&pair[0], words))?;
        let (kind, value) = pair[1].as_object()?.iter().next()?;
        Some((kind.as_str(), value))
    }

    const fn is_question(&self) -> bool {
        matches!((self.way, self.family), (Way::Host, Family::Ipv4))
    }

    const fn is_connection(&self) -> bool {
        matches!((self.way, self.family), (Way::Guest, Family::Ipv4))
    }

    /// Neighbour discovery, either way.
    const fn is_discovery(&self) -> bool {
        matches!(
            (self.way, self.family),
            (Way::Host | Way::Guest, Family::Ipv6)
        )
    }

    /// Any of them. Neighbour discovery isn't tracked by today's kernels
    /// (`nf_conntrack_icmpv6_error`).
    const fn states(&self) -> &'static [&'static str] {
        match self.way {
            Way::Back => &["established"],
            _ if self.is_discovery() => &["new", "untracked"],
            Way::Out | Way::Host | Way::Guest => &["new"],
        }
    }

    /// Whose fields its addresses are.
    const fn header(&self) -> &'static str {
        match self.family {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        }
    }

    /// On the near side of its way the packet has our bridge; on the far side
    /// an interface that can't be told, and isn't our bridge.
    fn interface(&self, near: bool, right: &Value, not: bool, named: &mut bool) -> Fit {
        if right.as_str().is_some_and(|it| it.starts_with('@')) {
            return Fit::No;
        }
        let ours = names(right).any(|it| match it.strip_suffix('*') {
            Some(begins) => self.bridge.starts_with(begins),
            None => it == self.bridge,
        });
        if near {
            *named |= ours && !not;
            return is(ours != not);
        }
        match (ours, not, *named) {
            (_, true, _) => Fit::Yes,
            (false, false, true) => Fit::Perhaps,
            _ => Fit::No,
        }
    }

    /// At `forward` a rule about one protocol isn't about every packet.
    fn protocol(&self, right: &Value, not: bool, named: &mut bool) -> Fit {
        let (words, number): (&[&str], _) = match (self.way, self.family) {
            (Way::Host, Family::Ipv4) => (&["udp"], 17),
            (Way::Guest, Family::Ipv4) => (&["tcp"], 6),
            (Way::Host | Way::Guest, Family::Ipv6) => (&["ipv6-icmp", "icmpv6"], 58),
            (Way::Out | Way::Back, _) => return Fit::No,
        };
        let ours = has(right, words) || values(right).any(|it| it.as_u64() == Some(number));
        *named |= ours && !not;
        is(ours != not)
    }

    /// `None`: it can't be told.
    fn address(&self, field: &str, right: &Value) -> Option<Fit> {
        // A question is from a link-local address or none, to one of multicast;
        // an answer goes to where its question came from.
        if self.is_discovery() {
            return Some(Fit::Perhaps);
        }
        let named = network(right)?;
        match (field, self.way) {
            ("saddr", Way::Out | Way::Host) | ("daddr", Way::Back | Way::Guest) => {
                let whole = named.contains(&self.guests);
                // It may be about some guests.
                (whole || !self.guests.contains(&named)).then_some(is(whole))
            }
            ("daddr", Way::Host) | ("saddr", Way::Guest) => Some(is(named.contains(&self.gateway))),
            _ => None,
        }
    }
}

const fn is(so: bool) -> Fit {
    if so { Fit::Yes } else { Fit::No }
}

/// A value, or those of a list or set.
fn values(right: &Value) -> impl Iterator<Item = &Value> {
    let all = right.as_array().or_else(|| right["set"].as_array());
    all.map_or(std::slice::from_ref(right), Vec::as_slice)
        .iter()
}

fn has(right: &Value, any: &[&str]) -> bool {
    names(right).any(|it| any.contains(&it))
}

fn names(right: &Value) -> impl Iterator<Item = &str> {
    values(right).filter_map(Value::as_str)
}

fn holds_port(right: &Value, port: u64, name: &str) -> bool {
    values(right).any(|it| match it["range"].as_array() {
        Some(ends) => {
            let end = |at: usize| ends.get(at).and_then(Value::as_u64);
            end(0).is_some_and(|it| it <= port) && end(1).is_some_and(|it| port <= it)
        }
        None => it.as_u64() == Some(port) || it == name,
    })
}

/// A network, or a single address.
fn network(right: &Value) -> Option<IpNet> {
    if let Some(address) = right.as_str() {
        return address.parse::<IpAddr>().ok().map(IpNet::from);
    }
    let prefix = &right["prefix"];
    let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
    IpNet::new(prefix["addr"].as_str()?.parse().ok()?, length).ok()
}

/// The verdict of an extension of iptables'; `None`: it is a match, or not told.
pub(super) fn xt(value: &Value) -> Option<(&'static str, &Value)> {
    let drops = value["type"] == "target" && (value["name"] == "REJECT" || value["name"] == "DROP");
    drops.then_some(("drop", value))
}
