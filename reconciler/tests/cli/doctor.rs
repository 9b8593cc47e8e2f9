//! `banger doctor`, its list, and `banger gc`.

use std::collections::BTreeSet;

use banger::wire::{Request, Response};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::objects::{UID, response};

fn report(items: &Value, unknown: &Value) -> Response {
    response(json!({
        "response": "inventory",
        "report": {
            "items": items, "unknown": unknown,
            "adoption": {"adopted": [UID], "left": []},
            "pool": {
                "size": 4, "warm": 4, "inUse": 2, "unfinished": 0, "created": 12, "failed": 0,
            },
            "legacyTables": [],
        },
    }))
}

fn item(state: &str, object: &str, name: &str) -> Value {
    json!({
        "state": state, "object": object, "name": name, "uid": UID, "vm": null,
        "why": "so", "remedy": (state == "unowned").then_some("banger gc"),
    })
}

/// A daemon that is well, with this list.
fn answers(request: &Request, items: &Value, unknown: &Value) -> Vec<Response> {
    match request {
        Request::Version {} => vec![response(json!({
            "response": "version", "daemon": env!("CARGO_PKG_VERSION"),
            "helper": {"Ok": "1.0"}, "simulated": true,
        }))],
        Request::List { .. } => vec![response(
            json!({"response": "objects", "objects": [], "problems": []}),
        )],
        Request::Inventory {} => vec![report(items, unknown)],
        _ => vec![],
    }
}

fn verdict<'a>(checks: &'a Value, name: &str) -> &'a str {
    let all = checks["checks"].as_array().unwrap();
    let check = all.iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("no check {name}: {checks:#}"));
    assert!(!check["message"].as_str().unwrap().is_empty());
    let verdict = check["verdict"].as_str().unwrap();
    if matches!(verdict, "warn" | "fail") {
        assert!(check["remedy"].is_string(), "{check:#}");
    }
    verdict
}

#[test]
fn every_check_has_a_verdict_and_the_exit_code_follows() {
    let bench = Bench::new();
    bench.daemon(|request| answers(request, &json!([]), &json!([])));
    let outcome = bench.banger(&["doctor", "-o", "json"]);
    let checks: Value = serde_json::from_str(&outcome.stdout).unwrap();
    for name in [
        "systemd",
        "cgroup v2",
        "KVM",
        "device-mapper",
        "loop",
        "tun",
        "kernel modules",
        "nft",
        "systemd-resolved",
        "firewall",
        "disk space",
        "work seeds",
        "clock source",
        "SMT",
        "KSM",
        "swap",
        "limits",
        "Landlock",
        "names of VMs",
    ] {
        verdict(&checks, name);
    }
    for name in [
        "daemon",
        "helper",
        "images",
        "disk pressure",
        "leftovers",
        "running VMs",
        "tap pool",
        "iptables-legacy",
    ] {
        assert_eq!(verdict(&checks, name), "pass", "{name}");
    }
    let pool = "pass  tap pool";
    let counts = "4 warm, 2 in use, 12 created, 0 failed";
    let status = bench.banger(&["system", "status"]);
    let line = status.stdout.lines().find(|line| line.starts_with(pool));
    assert!(line.is_some_and(|line| line.ends_with(counts)), "{status}");
    let fails = checks["counts"]["fail"].as_u64().unwrap();
    assert_eq!(outcome.code, Some(i32::from(fails > 0)), "{outcome}");

    let text = bench.banger(&["doctor"]);
    assert_eq!(text.code, outcome.code);
    let counts = &checks["counts"];
    let last = format!(
        "{} pass, {} warn, {} fail",
        counts["pass"], counts["warn"], counts["fail"]
    );
    assert!(
        text.stdout.lines().last().unwrap().starts_with(&last),
        "{text}"
    );
    assert_eq!(text.stderr, "");
}

/// Where KVM is there, a microVM runs or the child says why not; a hang is
/// ended by its own alarm.
#[test]
fn a_microvm_runs_or_says_why_not() {
    let outcome = Bench::new().banger(&["doctor", "--run-microvm"]);
    match outcome.code {
        Some(0) => assert_eq!(outcome.stdout, "ran\n"),
        Some(1) => {
            eprintln!("SKIPPED a_microvm_runs_or_says_why_not: {outcome}");
            assert!(outcome.stdout.len() > 1 && outcome.stdout != "ran\n");
        }
        None => eprintln!("SKIPPED a_microvm_runs_or_says_why_not: KVM hangs here"),
        Some(code) => panic!("exit code {code}: {outcome}"),
    }
}

#[test]
fn it_works_without_a_daemon() {
    let outcome = Bench::new().banger(&["doctor", "-o", "json"]);
    let checks: Value = serde_json::from_str(&outcome.stdout).unwrap();
    for name in [
        "images",
        "disk pressure",
        "leftovers",
        "tap pool",
        "iptables-legacy",
    ] {
        assert_eq!(verdict(&checks, name), "skip", "{name}");
    }
    assert!(matches!(outcome.code, Some(0 | 1)), "{outcome}");
}

#[test]
fn the_list_names_what_needs_a_look() {
    let bench = Bench::new();
    let items = json!([
        item("unowned", "tap", "bgr9"),
        item("foreign", "dm", "banger-x"),
        item("owned", "loop", "/dev/loop1"),
    ]);
    bench.daemon(move |request| answers(request, &items, &json!([])));
    let outcome = bench.banger(&["doctor", "--inventory"]);
    insta::assert_snapshot!(outcome, @r"
    exit code: Some(1)
    -- stdout
    unowned  tap bgr9: so
             `banger gc`
    foreign  dm device banger-x: so
    adopted 1/1 running VMs when the daemon started
    1 owned, 1 unowned, 0 missing; 1 foreign, left alone
    -- stderr
    ");
    let json = bench.banger(&["doctor", "--inventory", "-o", "json"]);
    assert_eq!(json.code, Some(1));
    let list: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(list["items"][0]["state"], "unowned");
    assert_eq!(list["pool"]["warm"], 4);
    assert_eq!(list["pool"]["created"], 12);
}

/// A daemon from before the counts, or one whose helper doesn't tell them.
#[test]
fn a_daemon_without_counts_of_the_pool_is_understood() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Inventory {} => vec![response(json!({
            "response": "inventory",
            "report": {"items": [], "unknown": [], "adoption": null},
        }))],
        request => answers(request, &json!([]), &json!([])),
    });
    let outcome = bench.banger(&["doctor", "-o", "json"]);
    let checks: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(verdict(&checks, "leftovers"), "pass");
    for name in ["tap pool", "iptables-legacy"] {
        assert_eq!(verdict(&checks, name), "skip", "{name}");
    }
    let json = bench.banger(&["doctor", "--inventory", "-o", "json"]);
    let list: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(list.get("pool").is_none(), "{json}");
}

#[test]
fn nothing_unowned_and_nothing_missing_is_well_unless_something_is_unknown() {
    for (unknown, code) in [(json!([]), 0), (json!(["taps: EPERM"]), 1)] {
        let bench = Bench::new();
        bench.daemon(move |request| answers(request, &json!([]), &unknown));
        let outcome = bench.banger(&["doctor", "--inventory"]);
        assert_eq!(outcome.code, Some(code), "{outcome}");
        assert!(outcome.stdout.contains("0 unowned, 0 missing"), "{outcome}");
        assert_eq!(outcome.stdout.contains("taps: EPERM"), code == 1);
    }
}

#[test]
fn what_is_collected_is_told_and_what_stays_too() {
    let bench = Bench::new();
    let daemon = bench.daemon(|request| match request {
        Request::Collect { dry_run, .. } => vec![response(json!({
            "response": "collected",
            "collected": {
                "dryRun": dry_run,
                "removed": [
                    {"what": "removing the tap", "uid": UID, "failed": null},
                    {"what": "half-made image .import-x", "uid": null, "failed": null},
                ],
                "left": [{
                    "what": format!("VM {UID}"), "why": "it runs, and no intent knows it",
                    "remedy": format!("banger gc --orphan {UID}"),
                }],
            },
        }))],
        _ => vec![],
    });
    insta::assert_snapshot!(bench.banger(&["gc", "--dry-run"]), @r"
    exit code: Some(0)
    -- stdout
    would  removing the tap of 0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f
    would  half-made image .import-x
    -- stderr
    left   VM 0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f: it runs, and no intent knows it
           `banger gc --orphan 0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f`
    ");
    let outcome = bench.banger(&["gc", "--orphan", UID]);
    assert_eq!(outcome.code, Some(0));
    assert!(
        outcome.stdout.starts_with("done   removing the tap of "),
        "{outcome}"
    );
    let told = daemon.told();
    assert_eq!(
        told,
        [
            Request::Collect {
                dry_run: true,
                orphans: BTreeSet::new(),
            },
            Request::Collect {
                dry_run: false,
                orphans: [UID.parse().unwrap()].into(),
            },
        ]
    );
}

#[test]
fn what_could_not_be_removed_is_exit_code_6() {
    let bench = Bench::new();
    bench.daemon(|_| {
        vec![response(json!({
            "response": "collected",
            "collected": {
                "dryRun": false,
                "removed": [{"what": "removing the tap", "uid": UID, "failed": "EBUSY"}],
                "left": [],
            },
        }))]
    });
    let outcome = bench.banger(&["gc"]);
    assert_eq!(outcome.code, Some(6), "{outcome}");
    assert!(outcome.stdout.contains("EBUSY"), "{outcome}");
    assert_eq!(bench.banger(&["gc", "--orphan", "web"]).code, Some(2));
}
