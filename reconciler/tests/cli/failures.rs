//! A daemon that isn't there, goes away, or makes no sense.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use serde_json::json;

use crate::bench::Bench;
use crate::objects::response;

#[test]
fn no_daemon() {
    let bench = Bench::new();
    let outcome = bench.banger(&["get", "vms"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(5), ""));
    assert!(outcome.stderr.starts_with(
        "error: the daemon can't be reached\n  cause: the daemon's socket [DIR]/sock isn't there\n  help: "
    ), "{outcome}");
}

#[test]
fn a_socket_that_nobody_listens_at() {
    let bench = Bench::new();
    drop(UnixListener::bind(bench.socket()).unwrap());
    insta::assert_snapshot!(bench.banger(&["get", "vms"]));
}

#[test]
fn a_daemon_that_goes_away() {
    let bench = Bench::new();
    bench.daemon(|_| Vec::new());
    insta::assert_snapshot!(bench.banger(&["get", "vms"]));
}

#[test]
fn an_answer_to_another_question() {
    let bench = Bench::new();
    bench.daemon(|_| vec![response(json!({"response": "done"}))]);
    insta::assert_snapshot!(bench.banger(&["get", "vms"]));
}

#[test]
fn no_answer_of_this_wire() {
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        b"\0\0\0\x02{}",
        b"\0\0\0\x09{\"resp",
    ] {
        let bench = Bench::new();
        let listener = UnixListener::bind(bench.socket()).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let _ = stream.write_all(bytes);
        });
        let outcome = bench.banger(&["get", "vms"]);
        assert!(matches!(outcome.code, Some(5 | 70)), "{outcome}");
        assert!(outcome.stderr.starts_with("error: the daemon"), "{outcome}");
        assert!(!outcome.stderr.contains("panicked"), "{outcome}");
    }
}

/// systemd's socket takes requests also where the daemon can't start.
#[test]
fn who_waits_for_a_silent_daemon_is_told() {
    let bench = Bench::new();
    let listener = UnixListener::bind(bench.socket()).unwrap();
    let mut banger = bench
        .command(&["get", "vms"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(banger.stderr.take().unwrap()).lines();
    let waits = lines.next().unwrap().unwrap();
    assert!(waits.contains("bangerd doesn't answer yet"), "{waits}");
    assert!(waits.contains("journalctl -u bangerd"), "{waits}");
    // It had gone on waiting.
    drop(listener);
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "error: the daemon went away"
    );
    assert_eq!(banger.wait().unwrap().code(), Some(5));
}

#[test]
fn what_the_daemon_says_decides_the_exit_code() {
    for (code, exit) in [
        ("not-found", 3),
        ("conflict", 6),
        ("invalid", 2),
        ("internal", 70),
    ] {
        let bench = Bench::new();
        bench.daemon(move |_| {
            vec![response(json!({
                "response": "error", "code": code, "message": "vm/web: no", "remedy": "do this",
            }))]
        });
        let outcome = bench.banger(&["get", "vms"]);
        assert_eq!(outcome.code, Some(exit));
        assert_eq!(outcome.stderr, "error: vm/web: no\n  help: do this\n");
        // `diff` has but one code for errors.
        assert_eq!(bench.banger(&["diff"]).code, Some(2));
    }
}
