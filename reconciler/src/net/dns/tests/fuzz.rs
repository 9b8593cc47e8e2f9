//! Bytes of any kind, and damaged messages: no panic, no answer that is too
//! large, none that isn't a message, none that points inside.

use std::net::Ipv6Addr;

use hickory_proto::op::MessageType;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA, TXT};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::net::dns::message::{Request, answer};
use crate::net::dns::rebinding::inside;

/// How a message is damaged.
#[derive(Clone, Debug)]
enum Damage {
    Replace(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index),
    /// A compression pointer to anywhere.
    Point(prop::sample::Index, u8),
    /// A count of the header.
    Count(u8, u16),
}

fn damage() -> impl Strategy<Value = Damage> {
    use prop::sample::Index;
    prop_oneof![
        any::<(Index, u8)>().prop_map(|(at, byte)| Damage::Replace(at, byte)),
        any::<(Index, u8)>().prop_map(|(at, bit)| Damage::Flip(at, bit % 8)),
        (any::<Index>(), vec(any::<u8>(), 1..40)).prop_map(|(at, b)| Damage::Insert(at, b)),
        any::<Index>().prop_map(Damage::Cut),
        any::<(Index, u8)>().prop_map(|(at, to)| Damage::Point(at, to)),
        (0..4_u8, any::<u16>()).prop_map(|(which, count)| Damage::Count(which, count)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len();
        match damage {
            _ if length < 12 => {}
            Damage::Replace(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Damage::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Cut(at) => bytes.truncate(at.index(length)),
            Damage::Point(at, to) => {
                let at = at.index(length - 1);
                bytes[at..at + 2].copy_from_slice(&[0xc0, *to]);
            }
            Damage::Count(which, count) => {
                let at = 4 + usize::from(*which) * 2;
                bytes[at..at + 2].copy_from_slice(&count.to_be_bytes());
            }
        }
    }
    bytes
}

fn names() -> impl Strategy<Value = Name> {
    let known = prop::sample::select(vec![
        "web.vm.",
        "many.vm.",
        "vm.",
        ".",
        "example.org.",
        "2.0.77.127.in-addr.arpa.",
    ]);
    let label = vec(any::<u8>(), 1..64);
    let labels = vec(label, 0..4).prop_filter_map("a name that is too long", |mut labels| {
        labels.push(b"vm".to_vec());
        let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
        let mut name = Name::from_labels(labels).ok()?;
        name.set_fqdn(true);
        Some(name)
    });
    prop_oneof![known.prop_map(name), labels]
}

fn questions() -> impl Strategy<Value = Message> {
    let kinds = prop_oneof![Just(1_u16), Just(28), Just(12), Just(255), any::<u16>()];
    let edns = prop::option::of(any::<u16>());
    (names(), kinds, edns, any::<u16>()).prop_map(|(name, kind, edns, id)| {
        let mut message = Message::query();
        message.metadata.id = id;
        message.add_query(Query::query(name, kind.into()));
        match edns {
            Some(payload) => with_edns(message, payload),
            None => message,
        }
    })
}

fn rdata() -> impl Strategy<Value = RData> {
    prop_oneof![
        any::<u32>().prop_map(|n| RData::A(A(n.into()))),
        any::<u16>().prop_map(|n| RData::A(A(Ipv4Addr::from(0x7f4d_0000 | u32::from(n))))),
        any::<u128>().prop_map(|n| RData::AAAA(AAAA(n.into()))),
        any::<u32>().prop_map(|n| RData::AAAA(AAAA(Ipv4Addr::from(n).to_ipv6_mapped()))),
        names().prop_map(|name| RData::CNAME(CNAME(name))),
        (any::<u16>(), names()).prop_map(|(n, name)| RData::MX(MX::new(n, name))),
        "[ -~]{0,200}".prop_map(|text| RData::TXT(TXT::new(vec![text]))),
        (names(), names()).prop_map(|(m, r)| RData::SOA(SOA::new(m, r, 1, 2, 3, 4, 5))),
    ]
}

fn many() -> Arc<Server> {
    let mut records = records();
    for n in 1..=100_u128 {
        records.insert(&vm("many"), IpAddr::V6(Ipv6Addr::from(n)));
    }
    server_with(records, Resolvers::Fixed(Vec::new()))
}

/// What holds for whatever a client sends.
fn answer_is_sound(
    server: &Server,
    packet: &[u8],
    transport: Transport,
) -> Result<(), TestCaseError> {
    let Verdict::Answer(bytes) = server.decide(packet, transport) else {
        return Ok(());
    };
    let most = match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => match Message::from_vec(packet) {
            Ok(asked) if asked.edns.is_some() => usize::from(asked.max_payload().clamp(512, 1232)),
            _ => 512,
        },
    };
    prop_assert!(bytes.len() <= most, "{} of {most}", bytes.len());
    let answer = Message::from_vec(&bytes);
    prop_assert!(answer.is_ok(), "{answer:?}");
    prop_assert_eq!(answer.unwrap().metadata.message_type, MessageType::Response);
    prop_assert_eq!(&bytes[..2], &packet[..2]);
    Ok(())
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn any_bytes_are_taken(packet in vec(any::<u8>(), 0..600)) {
        let server = server();
        answer_is_sound(&server, &packet, Transport::Udp)?;
        answer_is_sound(&server, &packet, Transport::Tcp)?;
    }

    #[test]
    fn damaged_questions_are_taken(asked in questions(), damages in vec(damage(), 0..6)) {
        let packet = damaged(bytes(&asked), &damages);
        let server = many();
        answer_is_sound(&server, &packet, Transport::Udp)?;
        answer_is_sound(&server, &packet, Transport::Tcp)?;
    }

    /// What passes is a message of the right size that points nowhere inside,
    /// whatever the server outside has sent.
    #[test]
    fn damaged_answers_are_taken(
        asked in questions(),
        data in vec(rdata(), 0..40),
        damages in vec(damage(), 0..6),
        udp: bool,
    ) {
        let transport = if udp { Transport::Udp } else { Transport::Tcp };
        let Ok(request) = Request::read(&bytes(&asked), transport) else {
            return Ok(());
        };
        let sent = request.forwarded(true);
        let records = data.into_iter().map(|data| record(&sent, data)).collect();
        let packet = damaged(bytes(&reply(&sent, records)), &damages);
        let Some(theirs) = answer(&packet, &sent) else {
            return Ok(());
        };
        if inside(&theirs, zone()).is_some() {
            return Ok(());
        }
        let relayed = request.relayed(theirs);
        prop_assert!(relayed.len() <= request.limit());
        let relayed = Message::from_vec(&relayed);
        prop_assert!(relayed.is_ok(), "{relayed:?}");
        let relayed = relayed.unwrap();
        prop_assert_eq!(inside(&relayed, zone()), None);
        prop_assert_eq!(relayed.metadata.id, asked.metadata.id);
    }

    #[test]
    fn any_answer_is_taken(packet in vec(any::<u8>(), 12..600)) {
        let sent = query("example.org.", RecordType::A);
        let mut packet = packet;
        packet[..2].copy_from_slice(&sent.metadata.id.to_be_bytes());
        packet[2] |= 0x80;
        prop_assert!(answer(&packet, &sent).is_none_or(|theirs| theirs.queries.len() == 1));
    }
}
