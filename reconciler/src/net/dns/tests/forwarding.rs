//! Questions that others answer.

use std::net::Ipv6Addr;
use std::sync::Mutex;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::svcb::{IpHint, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, HTTPS, NULL, SVCB, TXT};

use super::*;
use crate::net::dns::message::Request;
use crate::net::dns::upstream;

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

fn outside(asked: &Message) -> Vec<Record> {
    vec![record(asked, RData::A(A(OUTSIDE)))]
}

fn code(asked: &Message, code: ResponseCode) -> Vec<Vec<u8>> {
    let mut message = reply(asked, Vec::new());
    message.set_edns(Edns::new());
    message.metadata.response_code = code;
    vec![bytes(&message)]
}

#[tokio::test]
async fn an_answer_comes_back_under_the_client_s_id() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let upstream = Upstream::start(move |asked, _| {
        log.lock().unwrap().push(asked.clone());
        vec![bytes(&reply(asked, outside(asked)))]
    })
    .await;
    let bench = Bench::with(&[&upstream]).await;
    let asked = query("Example.org.", RecordType::A);
    let answer = bench.ask(&asked).await;
    assert_eq!(answer.answers, outside(&asked));
    assert!(answer.queries[0].name.eq_case(&name("Example.org.")));
    assert!(!answer.metadata.authoritative && answer.edns.is_none());
    let answer = bench.ask_over_tcp(&asked).await;
    assert_eq!(answer.answers, outside(&asked));

    // Of the client nothing but the question goes out, under another id.
    let seen = seen.lock().unwrap();
    let ids: Vec<u16> = seen.iter().map(|m| m.metadata.id).collect();
    assert!(ids.iter().any(|id| *id != asked.metadata.id), "{ids:?}");
    assert_eq!(seen[0].queries, asked.queries);
    assert_eq!(seen[0].edns.as_ref().unwrap().max_payload(), 1232);
}

#[tokio::test]
async fn records_of_any_kind_pass() {
    let upstream = Upstream::start(|asked, _| {
        let kind = RecordType::from(4711);
        let data = RData::Unknown {
            code: kind,
            rdata: NULL::with(vec![1, 2, 3]),
        };
        vec![bytes(&reply(asked, vec![record(asked, data)]))]
    })
    .await;
    let bench = Bench::with(&[&upstream]).await;
    let answer = bench
        .ask(&query("example.org.", RecordType::from(4711)))
        .await;
    assert_eq!(answer.answers.len(), 1);
    assert_eq!(answer.answers[0].record_type(), RecordType::from(4711));
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_over_tcp() {
    let upstream = Upstream::start(|asked, transport| {
        let text = TXT::new(vec!["x".repeat(200); 20]);
        let mut message = reply(asked, vec![record(asked, RData::TXT(text))]);
        if transport == Transport::Udp {
            message = message.truncate();
        }
        vec![bytes(&message)]
    })
    .await;
    let bench = Bench::with(&[&upstream]).await;
    let asked = query("example.org.", RecordType::TXT);
    // The client's packet is as small as ever, ...
    let answer = bench.ask(&with_edns(asked.clone(), 4096)).await;
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    // ... and over TCP it gets all.
    let answer = bench.ask_over_tcp(&asked).await;
    assert!(!answer.metadata.truncation);
    assert_eq!(answer.answers.len(), 1);
}

#[tokio::test]
async fn a_server_that_fails_makes_room_for_the_next() {
    let closed = {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.local_addr().unwrap()
    };
    let broken = Upstream::start(|asked, _| code(asked, ResponseCode::ServFail)).await;
    let good = Upstream::start(|asked, _| vec![bytes(&reply(asked, outside(asked)))]).await;
    let bench = Bench::start(Resolvers::Fixed(vec![closed, broken.address, good.address])).await;
    let asked = query("example.org.", RecordType::A);
    assert_eq!(bench.ask(&asked).await.answers, outside(&asked));

    // Where none knows more, the last word is passed on.
    let bench = Bench::with(&[&broken]).await;
    let answer = bench.ask(&asked).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    // And a name that isn't there is an answer like another.
    let empty = Upstream::start(|asked, _| code(asked, ResponseCode::NXDomain)).await;
    let bench = Bench::with(&[&empty, &good]).await;
    let answer = bench.ask(&asked).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn a_server_without_edns_is_asked_without() {
    let upstream = Upstream::start(|asked, _| {
        let mut message = reply(asked, outside(asked));
        if asked.edns.is_some() {
            message.answers.clear();
            message.metadata.response_code = ResponseCode::FormErr;
        }
        vec![bytes(&message)]
    })
    .await;
    let bench = Bench::with(&[&upstream]).await;
    let asked = query("example.org.", RecordType::A);
    assert_eq!(bench.ask(&asked).await.answers, outside(&asked));
}

#[tokio::test]
async fn what_is_no_answer_to_the_question_is_not_believed() {
    let upstream = Upstream::start(|asked, _| {
        let evil = vec![record(asked, RData::A(A(Ipv4Addr::new(203, 0, 113, 66))))];
        let mut other_id = reply(asked, evil.clone());
        other_id.metadata.id ^= 1;
        let mut other_name = reply(asked, evil.clone());
        other_name.queries[0].name = name("evil.example.org.");
        let mut other_case = reply(asked, evil.clone());
        other_case.queries[0].name = name("EXAMPLE.org.");
        let mut other_type = reply(asked, evil.clone());
        other_type.queries[0].query_type = RecordType::AAAA;
        let mut no_question = reply(asked, evil.clone());
        no_question.queries.clear();
        let mut packets: Vec<_> = [other_id, other_name, other_case, other_type, no_question]
            .iter()
            .map(bytes)
            .collect();
        packets.push(bytes(asked));
        packets.push(vec![0; 3]);
        packets.push(bytes(&reply(asked, outside(asked))));
        packets
    })
    .await;
    let bench = Bench::with(&[&upstream]).await;
    let asked = query("example.org.", RecordType::A);
    assert_eq!(bench.ask(&asked).await.answers, outside(&asked));
}

#[tokio::test]
async fn answers_that_point_inside_are_dropped() {
    let mapped = |v4: Ipv4Addr| RData::AAAA(AAAA(v4.to_ipv6_mapped()));
    let hint = |key, value| RData::HTTPS(HTTPS(SVCB::new(1, name("."), vec![(key, value)])));
    let inside = [
        RData::A(A(Ipv4Addr::LOCALHOST)),
        RData::A(A(Ipv4Addr::new(127, 255, 0, 9))),
        RData::A(A(Ipv4Addr::UNSPECIFIED)),
        RData::A(A(GUEST)),
        RData::A(A(SERVER)),
        RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)),
        RData::AAAA(AAAA(Ipv6Addr::UNSPECIFIED)),
        RData::AAAA(AAAA(GUEST6)),
        RData::AAAA(AAAA("fe80::1".parse().unwrap())),
        mapped(Ipv4Addr::LOCALHOST),
        mapped(OTHER),
        RData::AAAA(AAAA("64:ff9b::127.0.0.1".parse().unwrap())),
        RData::AAAA(AAAA("2002:7f4d:2::1".parse().unwrap())),
        hint(
            SvcParamKey::Ipv4Hint,
            SvcParamValue::Ipv4Hint(IpHint(vec![A(OUTSIDE), A(GUEST)])),
        ),
        hint(
            SvcParamKey::Ipv6Hint,
            SvcParamValue::Ipv6Hint(IpHint(vec![AAAA(Ipv6Addr::LOCALHOST)])),
        ),
    ];
    let elsewhere = [
        RData::A(A(OUTSIDE)),
        RData::A(A(Ipv4Addr::new(192, 168, 1, 1))),
        RData::A(A(Ipv4Addr::new(128, 77, 0, 2))),
        mapped(OUTSIDE),
        RData::AAAA(AAAA("2001:db8::1".parse().unwrap())),
        RData::AAAA(AAAA("fd77:0:0:1::2".parse().unwrap())),
    ];
    let cases = inside
        .into_iter()
        .map(|data| (data, false))
        .chain(elsewhere.into_iter().map(|data| (data, true)));
    for (data, passes) in cases {
        let sent = data.clone();
        let upstream = Upstream::start(move |asked, _| {
            let mut records = outside(asked);
            records.push(record(asked, sent.clone()));
            vec![bytes(&reply(asked, records))]
        })
        .await;
        let bench = Bench::with(&[&upstream]).await;
        let answer = bench.ask(&query("evil.example.org.", RecordType::A)).await;
        if passes {
            assert_eq!(answer.answers.len(), 2, "{data:?}");
        } else {
            let refused = answer.metadata.response_code == ResponseCode::Refused;
            assert!(refused && answer.answers.is_empty(), "{data:?}: {answer}");
        }
    }
}

/// The clock is paused: nobody waits for the server that is silent.
#[tokio::test(start_paused = true)]
async fn silence_ends_before_the_client_gives_up() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let asked = bytes(&query("example.org.", RecordType::A));
    let request = Request::read(&asked, Transport::Udp).unwrap();
    let begin = tokio::time::Instant::now();
    let servers = [silent.local_addr().unwrap(); 3];
    assert!(upstream::ask(&servers, &request).await.is_none());
    let took = begin.elapsed();
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
}
