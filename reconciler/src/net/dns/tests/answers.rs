//! What the zone itself answers.

use std::net::{IpAddr, Ipv6Addr};

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, RData, RecordType};

use super::*;

fn ask(text: &str, kind: RecordType) -> Message {
    let packet = bytes(&query(text, kind));
    read(&answered(&server(), &packet, Transport::Udp))
}

fn data(message: &Message) -> Vec<RData> {
    message.answers.iter().map(|r| r.data.clone()).collect()
}

/// A negative answer has the SOA that says how long it holds: not at all.
fn nothing(message: &Message, code: ResponseCode, owner: &str) {
    assert_eq!(message.metadata.response_code, code, "{message}");
    assert!(message.metadata.authoritative);
    assert!(message.answers.is_empty(), "{message}");
    let [soa] = message.authorities.as_slice() else {
        panic!("no SOA: {message}");
    };
    assert_eq!(soa.name, name(owner));
    let RData::SOA(data) = &soa.data else {
        panic!("no SOA: {message}");
    };
    assert_eq!((soa.ttl, data.minimum), (0, 0));
}

fn forwarded(text: &str, kind: RecordType) -> bool {
    let packet = bytes(&query(text, kind));
    matches!(
        server().decide(&packet, Transport::Udp),
        Verdict::Forward(_)
    )
}

#[test]
fn a_vm_has_its_addresses() {
    let answer = ask("web.vm.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    assert_eq!(data(&answer), [RData::A(A(GUEST))]);
    assert_eq!(answer.answers[0].ttl, 0);

    let answer = ask("web.vm.", RecordType::AAAA);
    assert_eq!(data(&answer), [RData::AAAA(AAAA(GUEST6))]);
    assert_eq!(data(&ask("web.vm.", RecordType::ANY)).len(), 2);
}

#[test]
fn what_a_vm_has_not_is_no_data() {
    for kind in [RecordType::AAAA, RecordType::MX, RecordType::HTTPS] {
        nothing(&ask("db.vm.", kind), ResponseCode::NoError, "vm.");
    }
}

#[test]
fn case_is_no_matter_and_comes_back() {
    let packet = bytes(&query("WeB.vM.", RecordType::A));
    let answer = read(&answered(&server(), &packet, Transport::Udp));
    assert_eq!(data(&answer), [RData::A(A(GUEST))]);
    assert!(answer.queries[0].name.eq_case(&name("WeB.vM.")));
    assert!(answer.answers[0].name.eq_case(&name("WeB.vM.")));
}

#[test]
fn what_is_not_there_is_said_to_be_not_there() {
    for text in ["gone.vm.", "a.web.vm.", "_tcp.vm."] {
        let answer = ask(text, RecordType::A);
        nothing(&answer, ResponseCode::NXDomain, "vm.");
    }
    // A label may be any bytes.
    for label in [&b"web\0"[..], b"\xff\xfe", b"we.b", b"*"] {
        let mut asked = query("x.vm.", RecordType::A);
        let mut odd = Name::from_labels([label, b"vm"]).unwrap();
        odd.set_fqdn(true);
        asked.queries[0].name = odd;
        let answer = read(&answered(&server(), &bytes(&asked), Transport::Udp));
        nothing(&answer, ResponseCode::NXDomain, "vm.");
    }
}

#[test]
fn the_zone_has_a_head_and_is_not_handed_out() {
    assert!(matches!(
        data(&ask("vm.", RecordType::SOA)).as_slice(),
        [RData::SOA(_)]
    ));
    assert!(matches!(
        data(&ask("VM.", RecordType::NS)).as_slice(),
        [RData::NS(_)]
    ));
    nothing(&ask("vm.", RecordType::A), ResponseCode::NoError, "vm.");
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        let answer = ask("vm.", kind);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
        assert!(answer.answers.is_empty());
    }
}

#[test]
fn an_address_has_its_name() {
    let answer = ask("2.0.77.127.in-addr.arpa.", RecordType::PTR);
    assert_eq!(data(&answer), [RData::PTR(PTR(name("web.vm.")))]);
    let apex = "77.127.in-addr.arpa.";
    let gone = ["1.0.77.127.in-addr.arpa.", "02.0.77.127.in-addr.arpa."];
    for text in gone {
        nothing(&ask(text, RecordType::PTR), ResponseCode::NXDomain, apex);
    }
    for text in [apex, "0.77.127.in-addr.arpa."] {
        nothing(&ask(text, RecordType::PTR), ResponseCode::NoError, apex);
    }
    let answer = ask("3.0.77.127.in-addr.arpa.", RecordType::A);
    nothing(&answer, ResponseCode::NoError, apex);
}

#[test]
fn an_ipv6_address_has_its_name() {
    let apex = "0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa.";
    let of = |host: &str| format!("{host}.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.{apex}");
    let answer = ask(&of("2"), RecordType::PTR);
    assert_eq!(data(&answer), [RData::PTR(PTR(name("web.vm.")))]);
    nothing(
        &ask(&of("3"), RecordType::PTR),
        ResponseCode::NXDomain,
        apex,
    );
    nothing(
        &ask(&of("2"), RecordType::AAAA),
        ResponseCode::NoError,
        apex,
    );
    for text in [apex.to_owned(), format!("0.0.{apex}")] {
        nothing(&ask(&text, RecordType::PTR), ResponseCode::NoError, apex);
    }
}

#[test]
fn other_names_are_for_others() {
    for text in [
        ".",
        "example.org.",
        "web.",
        "vm.example.org.",
        "1.1.78.127.in-addr.arpa.",
        "127.in-addr.arpa.",
        "1.2.0.77.127.in-addr.arpa.",
        "ip6.arpa.",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa.",
        "7.7.d.f.ip6.arpa.",
    ] {
        assert!(forwarded(text, RecordType::PTR), "{text}");
    }
    assert!(!forwarded("example.vm.", RecordType::A));
}

#[test]
fn edns_is_answered_with_edns() {
    let asked = with_edns(query("web.vm.", RecordType::A), 4096);
    let answer = read(&answered(&server(), &bytes(&asked), Transport::Udp));
    assert_eq!(answer.edns.unwrap().max_payload(), 1232);
    assert!(ask("web.vm.", RecordType::A).edns.is_none());

    let mut newer = asked;
    newer.edns.as_mut().unwrap().set_version(1);
    let answer = read(&answered(&server(), &bytes(&newer), Transport::Udp));
    // BADVERS, which shares its number with BADSIG.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert!(answer.answers.is_empty());
}

#[test]
fn what_is_too_large_for_a_packet_is_asked_for_again_over_tcp() {
    let mut many = Records::default();
    for n in 1..=200_u128 {
        many.insert(&vm("many"), IpAddr::V6(Ipv6Addr::from(n)));
    }
    let server = server_with(many, Resolvers::Fixed(Vec::new()));
    let plain = query("many.vm.", RecordType::AAAA);
    let cases = [
        (plain.clone(), 512),
        (with_edns(plain.clone(), 100), 512),
        (with_edns(plain.clone(), 800), 800),
        (with_edns(plain.clone(), u16::MAX), 1232),
    ];
    for (asked, most) in cases {
        let answer = answered(&server, &bytes(&asked), Transport::Udp);
        assert!(answer.len() <= most, "{} of {most}", answer.len());
        let answer = read(&answer);
        assert!(answer.metadata.truncation && answer.answers.is_empty());
        assert_eq!(answer.queries, asked.queries);
    }
    let answer = answered(&server, &bytes(&plain), Transport::Tcp);
    let answer = read(&answer);
    assert!(!answer.metadata.truncation);
    assert_eq!(answer.answers.len(), 200);
}

#[test]
fn what_is_no_question_gets_no_answer_or_an_error() {
    let server = server();
    let dropped = |packet: &[u8]| matches!(server.decide(packet, Transport::Udp), Verdict::Drop);
    let good = query("web.vm.", RecordType::A);
    let packet = bytes(&good);
    assert!(dropped(&[]));
    assert!(dropped(&packet[..11]));
    // An answer to an answer would be the begin of a loop.
    assert!(dropped(&bytes(&reply(&good, Vec::new()))));
    assert!(dropped(&[packet.as_slice(), &[0; 4096]].concat()));

    let code = |packet: &[u8]| {
        let answer = read(&answered(&server, packet, Transport::Udp));
        assert_eq!(answer.metadata.id, good.metadata.id);
        assert!(answer.answers.is_empty());
        answer.metadata.response_code
    };
    assert_eq!(code(&packet[..14]), ResponseCode::FormErr);
    let mut two = good.clone();
    two.add_query(Query::query(name("db.vm."), RecordType::A));
    assert_eq!(code(&bytes(&two)), ResponseCode::FormErr);
    let mut lying = packet.clone();
    lying[10..12].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(code(&lying), ResponseCode::FormErr);
    // A name that points at itself.
    let mut looping = packet.clone();
    looping[12..14].copy_from_slice(&[0xc0, 12]);
    assert_eq!(code(&looping), ResponseCode::FormErr);
    for op_code in [OpCode::Status, OpCode::Notify, OpCode::Update] {
        let mut other = good.clone();
        other.metadata.op_code = op_code;
        assert_eq!(code(&bytes(&other)), ResponseCode::NotImp);
    }
    let mut chaos = good.clone();
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&bytes(&chaos)), ResponseCode::Refused);
}
