//! `vm ssh`, `start`, `stop`, `restart`.

use banger::wire::Request;
use banger::wire::request::Power;
use banger_core::api::status::Object;

use crate::bench::Bench;
use crate::objects::{object, objects, steady, vm, vm_in, vm_json};

/// A stand-in for ssh: prints what it was given and ends with 42.
const SSH: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 42\n";

fn reachable(bench: &Bench) -> Object {
    let known_hosts = bench.write("known_hosts", "");
    std::fs::create_dir_all(bench.path("home/.local/state/banger/ssh")).unwrap();
    bench.write("home/.local/state/banger/ssh/id_ed25519", "");
    let mut json = vm_json("web");
    json["status"]["runtime"]["knownHosts"] = known_hosts.to_str().unwrap().into();
    object(json)
}

#[test]
fn ssh_trusts_only_what_the_guest_reported() {
    let bench = Bench::new();
    bench.daemon(steady(vec![reachable(&bench)]));
    bench.program("ssh", SSH);
    let outcome = bench.banger(&["vm", "ssh", "web", "--", "echo", "a b"]);
    insta::assert_snapshot!(outcome);
    let line = bench.banger(&["vm", "ssh", "web", "--", "cd / && ls"]);
    assert!(
        line.stdout.ends_with("root@172.30.0.2\n--\ncd / && ls\n"),
        "{line}"
    );
    let login = bench.banger(&["vm", "ssh", "-t", "web"]);
    assert!(login.stdout.ends_with("-t\nroot@172.30.0.2\n"), "{login}");
}

#[test]
fn ssh_waits_for_a_vm_that_boots() {
    let bench = Bench::new();
    let ready = reachable(&bench);
    let mut booting = ready.clone();
    booting.status.phase = banger_core::api::status::Phase::Booting;
    let first = std::sync::atomic::AtomicBool::new(true);
    bench.daemon(move |request| match request {
        Request::Watch { .. } => vec![
            objects(std::slice::from_ref(&booting)),
            objects(std::slice::from_ref(&ready)),
        ],
        Request::List { .. } if first.swap(false, std::sync::atomic::Ordering::SeqCst) => {
            vec![objects(std::slice::from_ref(&booting))]
        }
        _ => vec![objects(std::slice::from_ref(&ready))],
    });
    bench.program("ssh", SSH);
    let outcome = bench.banger(&["vm", "ssh", "web"]);
    assert_eq!(outcome.code, Some(42), "{outcome}");
    assert_eq!(outcome.stderr, "vm/web: Booting\nvm/web: Ready ([TIME])\n");
}

#[test]
fn ssh_says_at_once_what_waiting_would_not_mend() {
    let bench = Bench::new();
    bench.daemon(steady(vec![vm_in("off", "Stopped"), vm("web")]));
    let off = bench.banger(&["vm", "ssh", "off"]);
    assert_eq!(off.code, Some(6));
    assert_eq!(
        off.stderr,
        "error: vm/off is stopped\n  help: start it with `banger vm start off`\n"
    );
    let keyless = bench.banger(&["vm", "ssh", "web"]);
    assert_eq!(keyless.code, Some(6));
    assert!(
        keyless.stderr.contains("id_ed25519 isn't there"),
        "{keyless}"
    );
    assert_eq!(bench.banger(&["vm", "ssh", "nobody"]).code, Some(3));
}

#[test]
fn stop_is_waited_for() {
    let bench = Bench::new();
    let daemon = bench.daemon(|request| match request {
        Request::Watch { .. } => vec![
            objects(&[vm("web")]),
            objects(&[vm_in("web", "Stopping")]),
            objects(&[vm_in("web", "Stopped")]),
        ],
        request => steady(vec![vm("web")])(request),
    });
    insta::assert_snapshot!(bench.banger(&["vm", "stop", "web"]));
    assert!(matches!(
        daemon.told()[..],
        [Request::Power {
            power: Power::Stop,
            ..
        }]
    ));
}

/// The Ready of before the restart is not the Ready after it.
#[test]
fn a_restart_is_another_run() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Watch { .. } => {
            let mut again = vm_json("web");
            again["status"]["handles"]["pid"] = 4712.into();
            vec![
                objects(&[vm("web")]),
                objects(&[vm_in("web", "Booting")]),
                objects(&[object(again)]),
            ]
        }
        request => steady(vec![vm("web")])(request),
    });
    let outcome = bench.banger(&["vm", "restart", "web"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "vm/web restarted\n"),
        "{outcome}"
    );
    assert_eq!(
        outcome.stderr,
        "vm/web: waiting for the restart to begin\nvm/web: Booting\nvm/web: Ready ([TIME])\n"
    );
}

#[test]
fn nobody_has_to_wait() {
    let bench = Bench::new();
    bench.daemon(steady(vec![vm_in("web", "Stopped")]));
    let outcome = bench.banger(&["vm", "start", "web", "--wait=false"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "vm/web is to start\n"),
        "{outcome}"
    );
    let missing = bench.banger(&["vm", "stop", "nobody"]);
    assert_eq!(missing.code, Some(3));
}
