//! Who may speak, and what is a frame.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use banger_helper::client::{Client, ClientError};
use banger_protocol::frame::MAX_REQUEST;
use banger_protocol::{DiskRole, Request, Response};
use nix::libc;

use crate::bench::{Bench, OWNER, ensure_loop, native, open_rw};

/// Runs a section in a thread that has become another uid (the raw system
/// call changes one thread; the C library's would change all of them).
fn as_uid<T: Send + 'static>(uid: u32, section: impl FnOnce() -> T + Send + 'static) -> T {
    let run = thread::spawn(move || {
        // SAFETY: three plain numbers.
        let done = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
        assert_eq!(done, 0);
        section()
    });
    run.join().unwrap()
}

fn connect_as(bench: &Bench, uid: u32) -> Result<(), ClientError> {
    let socket: PathBuf = bench.socket.clone();
    as_uid(uid, move || Client::connect(&socket).map(drop))
}

#[test]
fn only_the_owner_and_root_are_served() {
    native("only_the_owner_and_root_are_served", &[], |bench| {
        connect_as(bench, 0).unwrap();
        connect_as(bench, OWNER).unwrap();
        let refused = connect_as(bench, OWNER + 1);
        assert!(matches!(refused, Err(ClientError::Io(_))), "{refused:?}");
        // Closed before a byte is read: not even a wrong one gets an answer.
        let socket = bench.socket.clone();
        let answer = as_uid(OWNER + 1, move || {
            let mut stream = UnixStream::connect(&socket).unwrap();
            let _ = stream.write_all(b"\xff\xff\xff\xff");
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            answer
        });
        assert_eq!(answer, b"");
    });
}

/// Sends bytes; what comes back until the helper closes.
fn raw(bench: &Bench, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(&bench.socket).unwrap();
    stream.write_all(bytes).unwrap();
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

#[test]
fn a_connection_starts_with_hello_of_our_major() {
    native(
        "a_connection_starts_with_hello_of_our_major",
        &[],
        |bench| {
            let answer = raw(bench, &framed(br#"{"op":"inventory"}"#));
            assert!(answer.contains("starts with `hello`"), "{answer}");
            let answer = raw(
                bench,
                &framed(br#"{"op":"hello","version":{"major":2,"minor":0}}"#),
            );
            assert!(answer.contains("speaks protocol 1"), "{answer}");
        },
    );
}

#[test]
fn frames_are_bounded_and_strict() {
    native("frames_are_bounded_and_strict", &[], |bench| {
        let long = u32::try_from(MAX_REQUEST + 1).unwrap().to_be_bytes();
        assert!(raw(bench, &long).contains("longer than the 65536"));
        assert!(raw(bench, &u32::MAX.to_be_bytes()).contains("longer than"));
        assert!(raw(bench, &framed(b"{")).contains("not what the protocol says"));
        assert!(raw(bench, &[0, 0]).contains("ended inside a frame"));
        for body in [
            &br#"{"op":"reboot"}"#[..],
            br#"{"op":"ensure-bridge","extra":1}"#,
            br#"{"op":"kill-vmm","uid":"../../etc"}"#,
        ] {
            let mut client = bench.client();
            let Response::Error { error } = client.call_raw(&framed(body), &[]).unwrap() else {
                panic!("{body:?} was taken");
            };
            assert_eq!(error.op, "frame");
        }
    });
}

#[test]
fn a_wrong_number_of_descriptors_is_refused_and_closed() {
    native(
        "a_wrong_number_of_descriptors_is_refused_and_closed",
        &[],
        |bench| {
            let uid = bench.uid();
            let disk = open_rw(&bench.disk("disk", 1 << 20));
            let fd = disk.as_fd();
            let (end, peer) = UnixStream::pair().unwrap();
            let mut client = bench.client();
            let mut refused = |request: &Request, files: &[_]| {
                let Response::Error { error } = client.call(request, files).unwrap() else {
                    panic!("{request:?} was taken");
                };
                assert_eq!(error.step, "descriptors");
            };
            refused(&Request::EnsureBridge { ipv6: false }, &[peer.as_fd()]);
            refused(&ensure_loop(uid, DiskRole::Cow), &[]);
            refused(&ensure_loop(uid, DiskRole::Cow), &[fd, fd]);
            // The helper kept none: with ours gone, the other end is at its end.
            drop(peer);
            assert_eq!((&end).read(&mut [0]).unwrap(), 0);
            let Response::Error { error } = bench
                .client()
                .call(&ensure_loop(uid, DiskRole::Cow), &[fd; 8])
                .unwrap()
            else {
                panic!("eight descriptors were taken");
            };
            assert_eq!(error.op, "frame");
        },
    );
}
