//! Answers from outside that point inside: with one, a page that a guest's
//! browser has loaded could speak to the guest's own services or to other
//! guests under a name of the page's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::SvcParamValue;

use super::message::records;
use super::zone::Zone;

/// The first address of an answer that no server outside has to name.
pub(super) fn inside(message: &Message, zone: Zone) -> Option<IpAddr> {
    records(message)
        .flat_map(|record| addresses(&record.data))
        .find(|address| is_inside(*address, zone))
}

fn addresses(data: &RData) -> Vec<IpAddr> {
    match data {
        RData::A(a) => vec![a.0.into()],
        RData::AAAA(aaaa) => vec![aaaa.0.into()],
        RData::SVCB(svcb) => hints(svcb),
        RData::HTTPS(https) => hints(&https.0),
        _ => Vec::new(),
    }
}

/// `ipv4hint` and `ipv6hint` (RFC 9460, 7.3): clients connect to them.
fn hints(svcb: &SVCB) -> Vec<IpAddr> {
    let of_value = |value: &SvcParamValue| -> Vec<IpAddr> {
        match value {
            SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|a| a.0.into()).collect(),
            SvcParamValue::Ipv6Hint(hint) => hint.0.iter().map(|a| a.0.into()).collect(),
            _ => Vec::new(),
        }
    };
    let values = svcb.svc_params.iter().map(|(_, value)| value);
    values.flat_map(of_value).collect()
}

/// Loopback, the unspecified network (Linux connects it to loopback), the
/// neighbours of an interface, and the guests' networks; also where IPv6 only
/// wraps an IPv4 address.
fn is_inside(address: IpAddr, zone: Zone) -> bool {
    let inside = |v4: Ipv4Addr| v4.is_loopback() || v4.octets()[0] == 0 || zone.contains(v4.into());
    match address {
        IpAddr::V4(v4) => inside(v4),
        IpAddr::V6(v6) => {
            let near = v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local();
            near || zone.contains(v6.into()) || wrapped(v6).is_some_and(inside)
        }
    }
}

/// The IPv4 address in a mapped or compatible one (RFC 4291, 2.5.5), or in one
/// of NAT64's well-known prefix (RFC 6052) or of 6to4 (RFC 3056).
fn wrapped(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let at = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(at(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(at(high, low)),
        [0x2002, high, low, ..] => Some(at(high, low)),
        _ => None,
    }
}
