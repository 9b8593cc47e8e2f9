//! What is answered here: `vm.` and the reverse names of the guests' networks
//! (RFC 1035; RFC 2308 for what isn't there; RFC 6303 for SOA and NS of a zone
//! that nobody delegates).

use std::net::{IpAddr, Ipv4Addr};

use banger_protocol::Ula;
use banger_protocol::slot::gateway;
use hickory_proto::ProtoError;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, NS, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ipnet::{IpNet, Ipv4Net};

use super::records::Records;

/// The zone's only label.
const ZONE: &str = "vm";
/// Nothing is to be remembered: asking costs nothing, and a VM may be new, or
/// gone, at any time.
const TTL: u32 = 0;

/// The guests' network, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    subnet: Ipv4Net,
    /// Of their IPv6 addresses; `None`: they have none.
    ula: Option<Ula>,
}

/// An answer of the zone's own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) code: ResponseCode,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
}

impl Zone {
    pub(super) const fn new(subnet: Ipv4Net, ula: Option<Ula>) -> Self {
        Self { subnet, ula }
    }

    /// The server's own address.
    pub(super) fn server(self) -> Ipv4Addr {
        gateway(self.subnet)
    }

    /// Whether this is a guest's address, or the bridge's.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.subnet.contains(&address),
            IpAddr::V6(address) => self.ula.is_some_and(|ula| ula.contains(address)),
        }
    }

    /// The answer; `None`: somebody else's name.
    pub(super) fn answer(self, records: &Records, query: &Query) -> Option<Reply> {
        let answered = match self.place(&query.name)? {
            Place::Apex => self.apex(query),
            Place::Vm(label) => Self::vm(records, query, &label),
            Place::Reverse(net) => self.reverse(records, query, net),
            Place::Nowhere => Self::nothing(ResponseCode::NXDomain, apex()),
        };
        Some(answered.unwrap_or_else(|_| Reply {
            code: ResponseCode::ServFail,
            answers: Vec::new(),
            authorities: Vec::new(),
        }))
    }

    fn place(self, name: &Name) -> Option<Place> {
        let labels: Vec<&[u8]> = name.iter().collect();
        if let [below @ .., zone] = labels.as_slice()
            && zone.eq_ignore_ascii_case(ZONE.as_bytes())
        {
            return Some(match below {
                [] => Place::Apex,
                [label] => match std::str::from_utf8(label) {
                    Ok(label) => Place::Vm(label.to_ascii_lowercase()),
                    Err(_) => Place::Nowhere,
                },
                _ => Place::Nowhere,
            });
        }
        let net = name.parse_arpa_name().ok()?;
        let ours = match net {
            IpNet::V4(net) => self.subnet.contains(&net),
            IpNet::V6(net) => self.ula.is_some_and(|ula| ula.get().contains(&net)),
        };
        ours.then_some(Place::Reverse(net))
    }

    fn apex(self, query: &Query) -> Result<Reply, ProtoError> {
        let data = match query.query_type {
            RecordType::SOA | RecordType::ANY => soa()?,
            RecordType::NS => RData::NS(NS(apex()?)),
            RecordType::AXFR | RecordType::IXFR => return Ok(refused()),
            _ => return Self::nothing(ResponseCode::NoError, apex()),
        };
        Ok(found(vec![Record::from_rdata(
            query.name.clone(),
            TTL,
            data,
        )]))
    }

    fn vm(records: &Records, query: &Query, label: &str) -> Result<Reply, ProtoError> {
        let Some(addresses) = records.addresses(label) else {
            return Self::nothing(ResponseCode::NXDomain, apex());
        };
        let wanted = |address: &&IpAddr| match query.query_type {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            RecordType::ANY => true,
            _ => false,
        };
        let answers: Vec<Record> = addresses
            .iter()
            .filter(wanted)
            .map(|address| match *address {
                IpAddr::V4(address) => RData::A(A(address)),
                IpAddr::V6(address) => RData::AAAA(AAAA(address)),
            })
            // The name as it was asked for: some clients compare its case.
            .map(|data| Record::from_rdata(query.name.clone(), TTL, data))
            .collect();
        if answers.is_empty() {
            return Self::nothing(ResponseCode::NoError, apex());
        }
        Ok(found(answers))
    }

    fn reverse(self, records: &Records, query: &Query, net: IpNet) -> Result<Reply, ProtoError> {
        let apex = || self.reverse_apex(net);
        if net.prefix_len() < net.max_prefix_len() {
            // Names of addresses lie below it.
            return Self::nothing(ResponseCode::NoError, apex());
        }
        let address = net.addr();
        // `01` in the place of `1` is another name.
        let vm = records
            .name(address)
            .filter(|_| Name::from(address) == query.name);
        let Some(vm) = vm else {
            return Self::nothing(ResponseCode::NXDomain, apex());
        };
        match query.query_type {
            RecordType::PTR | RecordType::ANY => {
                let target = Name::from_ascii(format!("{vm}.{ZONE}."))?;
                let data = RData::PTR(PTR(target));
                Ok(found(vec![Record::from_rdata(
                    query.name.clone(),
                    TTL,
                    data,
                )]))
            }
            _ => Self::nothing(ResponseCode::NoError, apex()),
        }
    }

    /// `30.172.in-addr.arpa.` of 172.30.0.0/16; of a subnet that doesn't end
    /// between two labels, the name above it. IPv6 has a label for four bits.
    fn reverse_apex(self, net: IpNet) -> Result<Name, ProtoError> {
        let (network, labels) = match (net, self.ula) {
            (IpNet::V6(_), Some(ula)) => (IpNet::V6(ula.get()), ula.get().prefix_len() / 4),
            _ => (IpNet::V4(self.subnet), self.subnet.prefix_len() / 8),
        };
        let full = Name::from(network.network());
        Ok(full.trim_to(usize::from(labels) + 2))
    }

    /// NXDOMAIN, or no data: with the SOA, that the client knows for how long.
    fn nothing(code: ResponseCode, owner: Result<Name, ProtoError>) -> Result<Reply, ProtoError> {
        Ok(Reply {
            code,
            answers: Vec::new(),
            authorities: vec![Record::from_rdata(owner?, TTL, soa()?)],
        })
    }
}

/// Where a name lies.
enum Place {
    /// `vm.`
    Apex,
    /// `<label>.vm.`, in lower case.
    Vm(String),
    /// An address of a guests' network, or what many of them have in common.
    Reverse(IpNet),
    /// Below `vm.`, where no VM can be.
    Nowhere,
}

const fn found(answers: Vec<Record>) -> Reply {
    Reply {
        code: ResponseCode::NoError,
        answers,
        authorities: Vec::new(),
    }
}

/// Zones aren't handed out.
const fn refused() -> Reply {
    Reply {
        code: ResponseCode::Refused,
        answers: Vec::new(),
        authorities: Vec::new(),
    }
}

fn apex() -> Result<Name, ProtoError> {
    Name::from_ascii(format!("{ZONE}."))
}

/// RFC 6303, section 3, but with nothing to be remembered.
fn soa() -> Result<RData, ProtoError> {
    let nobody = Name::from_ascii("nobody.invalid.")?;
    Ok(RData::SOA(SOA::new(
        apex()?,
        nobody,
        1,
        3600,
        1200,
        604_800,
        TTL,
    )))
}
