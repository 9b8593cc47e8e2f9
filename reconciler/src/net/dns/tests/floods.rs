//! Many questions, slow clients: others have their share.

use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::rr::rdata::A;

use super::*;
use crate::net::dns::quota::Quota;

#[test]
fn seats_are_counted_for_each_and_for_all() {
    let quota = Quota::new(3, 2);
    let [a, b] = [IpAddr::V4(GUEST), IpAddr::V4(OTHER)];
    let first = quota.take(a).unwrap();
    let _second = quota.take(a).unwrap();
    assert!(quota.take(a).is_none());
    let _third = quota.take(b).unwrap();
    assert!(quota.take(b).is_none());
    drop(first);
    let _again = quota.take(b).unwrap();
    assert!(quota.take(a).is_none());
}

/// One guest asks 500 times what nobody answers. 64 of it go out, and neither
/// the zone nor another guest's question waits for them.
#[tokio::test]
async fn a_flood_of_one_guest_is_bounded_and_harms_no_other() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let upstream = Upstream::start(move |question, _| {
        if question.queries[0].name == name("good.example.org.") {
            let data = RData::A(A(Ipv4Addr::new(198, 51, 100, 7)));
            return vec![bytes(&reply(question, vec![record(question, data)]))];
        }
        count.fetch_add(1, Ordering::SeqCst);
        Vec::new()
    })
    .await;
    let bench = Bench::with(&[&upstream]).await;
    let flooder = bench.client(GUEST).await;
    let own = bytes(&query("web.vm.", RecordType::A));
    for n in 0..500 {
        let question = query(&format!("n{n}.example.org."), RecordType::A);
        flooder.send(&bytes(&question)).await.unwrap();
        if n % 50 == 0 {
            // Its own names it gets all the while; and it keeps the socket's
            // buffer from running over, which would bound it too early.
            flooder.send(&own).await.unwrap();
            assert_eq!(receive(&flooder).await.answers.len(), 1);
        }
    }
    flooder.send(&own).await.unwrap();
    receive(&flooder).await;
    let other = bench.client(OTHER).await;
    let good = query("good.example.org.", RecordType::A);
    other.send(&bytes(&good)).await.unwrap();
    assert_eq!(receive(&other).await.answers.len(), 1);
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked > 0 && asked <= 64 * 2, "{asked} went out");
}

#[tokio::test]
async fn connections_of_one_client_are_bounded_and_harm_no_other() {
    let bench = Bench::start(Resolvers::Fixed(Vec::new())).await;
    let mut idle = Vec::new();
    for _ in 0..16 {
        let mut stream = bench.connect(GUEST).await;
        // Half of a question.
        stream.write_all(&[0, 40, 1, 2]).await.unwrap();
        idle.push(stream);
    }
    let mut one_more = bench.connect(GUEST).await;
    let ended = one_more.read(&mut [0; 1]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let mut other = bench.connect(OTHER).await;
    say(&mut other, &bytes(&query("web.vm.", RecordType::A))).await;
    assert_eq!(hear(&mut other).await.answers.len(), 1);
    // One that ends makes room.
    drop(idle.pop());
    loop {
        let mut stream = bench.connect(GUEST).await;
        let question = bytes(&query("web.vm.", RecordType::A));
        let length = u16::try_from(question.len()).unwrap().to_be_bytes();
        let sent = stream.write_all(&[&length[..], &question].concat()).await;
        if sent.is_ok() && stream.read_u16().await.is_ok() {
            break;
        }
    }
}

#[tokio::test]
async fn many_questions_go_over_one_connection() {
    let bench = Bench::start(Resolvers::Fixed(Vec::new())).await;
    let mut stream = bench.connect(GUEST).await;
    let question = bytes(&query("web.vm.", RecordType::A));
    // In pieces, and the next one before the answer to the last.
    for _ in 0..3 {
        stream.write_all(&[0]).await.unwrap();
        let length = u8::try_from(question.len()).unwrap();
        stream.write_all(&[length, question[0]]).await.unwrap();
        stream.write_all(&question[1..]).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(hear(&mut stream).await.answers.len(), 1);
    }
    // What is larger than any question ends the connection.
    stream.write_all(&[0xff, 0xff, 0]).await.unwrap();
    let ended = stream.read(&mut [0; 1]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

/// The clock is paused: the client that says no more is left after its time.
#[tokio::test(start_paused = true)]
async fn a_client_that_stops_in_the_middle_is_left() {
    let bench = Bench::start(Resolvers::Fixed(Vec::new())).await;
    let mut stream = bench.connect(GUEST).await;
    stream.write_all(&[0, 40, 1]).await.unwrap();
    let ended = stream.read(&mut [0; 1]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}
