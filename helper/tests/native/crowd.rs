//! Many at once: whoever is silent, slow or queues keeps nobody out.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banger_protocol::frame::{self, HEADER, MAX_REQUEST, MAX_RESPONSE};
use banger_protocol::version::CURRENT;
use banger_protocol::{Request, Response, Retry};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bench::{Bench, native, skipped};
use crate::nat::nat;

/// How long somebody may wait in any of these crowds: a daemon gives up after 45 s.
const HONEST: Duration = Duration::from_secs(15);
/// More than are served at once.
const CROWD: usize = 700;
/// Fewer.
const BESIDE: usize = 400;

/// A crowd takes more descriptors than a process has by itself.
fn crowded(name: &'static str, needs: &[&str], test: fn(&mut Bench)) {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < 8000) {
        return skipped(name, "fewer than 8000 descriptors");
    }
    let raised = Rlimit {
        current: Some(8000),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    native(name, needs, test);
}

/// Connects, asks once, and says how long that took.
fn honest(bench: &Bench) -> Duration {
    let start = Instant::now();
    bench.inventory();
    start.elapsed()
}

/// A connection that has said hello and asked, and reads no answer.
fn asks(bench: &Bench, request: &Request) -> UnixStream {
    let mut stream = UnixStream::connect(&bench.socket).unwrap();
    let hello = Request::Hello { version: CURRENT };
    for request in [&hello, request] {
        let bytes = frame::encode(request, MAX_REQUEST).unwrap();
        stream.write_all(&bytes).unwrap();
    }
    stream
}

fn answer(stream: &mut UnixStream) -> Response {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; frame::body_length(header, MAX_RESPONSE).unwrap()];
    stream.read_exact(&mut body).unwrap();
    frame::decode(&body).unwrap()
}

#[test]
fn thousands_who_say_nothing_keep_nobody_out() {
    let name = "thousands_who_say_nothing_keep_nobody_out";
    crowded(name, &[], |bench| {
        let address = SocketAddrUnix::new(&bench.socket).unwrap();
        let mut held: Vec<OwnedFd> = Vec::new();
        while held.len() < 3000 {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
            match connect(&socket, &address) {
                Ok(()) => held.push(socket),
                // The backlog is full.
                Err(_) => break,
            }
        }
        let took = honest(bench);
        eprintln!("behind {} silent connections: {took:?}", held.len());
        assert!(held.len() > CROWD && took < HONEST, "{took:?}");
    });
}

#[test]
fn a_queue_for_the_tables_keeps_nobody_out() {
    let name = "a_queue_for_the_tables_keeps_nobody_out";
    crowded(name, &["/usr/sbin/nft"], |bench| {
        let queue: Vec<_> = (0..CROWD).map(|_| asks(bench, &nat(&[]))).collect();
        let took = honest(bench);
        eprintln!(
            "behind {} replacements of the tables: {took:?}",
            queue.len()
        );
        assert!(took < HONEST, "{took:?}");
    });
}

#[test]
fn who_queues_makes_room_and_is_told() {
    let name = "who_queues_makes_room_and_is_told";
    crowded(name, &[], |bench| {
        let host = Arc::clone(&bench.host);
        // Some are under way and wait for this; the others wait for their turn.
        let held = host.bridge.blocking_lock();
        let ensure = Request::EnsureBridge { ipv6: false };
        let mut queue: Vec<_> = (0..CROWD).map(|_| asks(bench, &ensure)).collect();
        let took = honest(bench);
        eprintln!("behind {CROWD} in a queue: {took:?}");
        assert!(took < HONEST, "{took:?}");
        drop(held);
        let (mut done, mut told) = (0, 0);
        for stream in &mut queue {
            assert!(matches!(answer(stream), Response::Hello { .. }));
            match answer(stream) {
                Response::Error { error } => {
                    assert_eq!((error.step.as_str(), error.retry), ("seat", Retry::Later));
                    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is closed");
                    told += 1;
                }
                _ => done += 1,
            }
        }
        eprintln!("{done} had their turn, {told} made room");
        assert!(done > 0 && told > 0, "{done} {told}");
    });
}

#[test]
fn idle_and_slow_ones_make_room() {
    let name = "idle_and_slow_ones_make_room";
    crowded(name, &[], |bench| {
        let mut held = Vec::new();
        for n in 0..CROWD {
            let mut stream = UnixStream::connect(&bench.socket).unwrap();
            let hello = Request::Hello { version: CURRENT };
            let bytes = frame::encode(&hello, MAX_REQUEST).unwrap();
            // A whole hello and nothing more, or a frame that never ends.
            let said = if n % 2 == 0 { &bytes[..] } else { &bytes[..9] };
            stream.write_all(said).unwrap();
            held.push(stream);
        }
        let took = honest(bench);
        eprintln!("behind {CROWD} that are idle or slow: {took:?}");
        assert!(took < HONEST, "{took:?}");
    });
}

/// The middle of some.
fn median(bench: &Bench) -> Duration {
    let mut all: Vec<_> = (0..21).map(|_| honest(bench)).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

#[test]
fn a_request_takes_as_long_beside_others_as_alone() {
    let name = "a_request_takes_as_long_beside_others_as_alone";
    crowded(name, &[], |bench| {
        let alone = median(bench);
        let beside = |what: &str, bench: &Bench| {
            let took = median(bench);
            let ratio = took.as_secs_f64() / alone.as_secs_f64();
            eprintln!("hello and inventory: {alone:?} alone, {took:?} beside {what}: {ratio:.2}");
            assert!(took < alone * 4 + Duration::from_millis(100), "{what}");
        };
        let slow = (0..BESIDE).map(|_| {
            let mut stream = UnixStream::connect(&bench.socket).unwrap();
            stream.write_all(&[0]).unwrap();
            stream
        });
        let _held: Vec<_> = slow.collect();
        beside("400 frames that don't end", bench);
    });
}
