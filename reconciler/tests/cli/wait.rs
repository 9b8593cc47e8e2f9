//! `wait`: what was asked for, the end of hope, or the end of time.

use banger::wire::Request;
use serde_json::json;

use crate::bench::Bench;
use crate::objects::{condition, object, objects, response, steady, vm, vm_in, vm_json};

#[test]
fn until_it_is_ready() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Watch { .. } => {
            let mut booting = vm_json("web");
            booting["status"]["phase"] = "Booting".into();
            booting["status"]["conditions"][1] =
                condition("Ready", "False", "Booting", "the kernel starts");
            vec![
                objects(&[]),
                objects(&[object(booting)]),
                objects(&[vm("web")]),
            ]
        }
        request => steady(Vec::new())(request),
    });
    insta::assert_snapshot!(bench.banger(&["wait", "--for=condition=Ready", "vm/web"]));
}

#[test]
fn no_longer_than_there_is_hope() {
    let bench = Bench::new();
    let mut refused = vm_json("web");
    refused["status"]["phase"] = "Booting".into();
    refused["status"]["conditions"] = json!([condition(
        "Accepted",
        "False",
        "Invalid",
        "web.yaml:3:1: no"
    )]);
    bench.daemon(steady(vec![object(refused)]));
    insta::assert_snapshot!(bench.banger(&["wait", "--for=condition=Ready", "vm/web"]));
}

#[test]
fn a_new_document_that_is_refused_is_no_reason_to_wait() {
    let bench = Bench::new();
    bench.daemon(|_| vec![response(json!({
        "response": "objects", "objects": [],
        "problems": [{
            "file": "/c/web.yaml", "at": null, "object": ["VirtualMachine", "web"], "field": null,
            "message": "`vcpus` is too much", "remedy": null, "line": null,
        }],
    }))]);
    let outcome = bench.banger(&["wait", "--for=condition=Ready", "vm/web"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("`vcpus` is too much"), "{outcome}");
}

#[test]
fn no_longer_than_was_said() {
    let bench = Bench::new();
    bench.daemon(steady(vec![vm_in("web", "Pending")]));
    let outcome = bench.banger(&["wait", "--for=delete", "vm", "web", "--timeout", "0"]);
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("error: vm/web didn't get there within 0 s"),
        "{outcome}"
    );
}

#[test]
fn until_it_is_gone() {
    let bench = Bench::new();
    bench.daemon(|_| vec![objects(&[vm_in("web", "Deleting")]), objects(&[])]);
    let outcome = bench.banger(&["wait", "--for=delete", "vm/web"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "vm/web is gone\n")
    );
    // Its successor is another.
    let bench = Bench::new();
    bench.daemon(|_| vec![objects(&[])]);
    assert_eq!(
        bench.banger(&["wait", "--for=delete", "vm/web"]).code,
        Some(0)
    );
}

/// A status that is about an earlier generation proves nothing.
#[test]
fn yesterdays_ready_does_not_count() {
    let bench = Bench::new();
    let mut stale = vm_json("web");
    stale["metadata"]["generation"] = 3.into();
    bench.daemon(steady(vec![object(stale)]));
    let outcome = bench.banger(&["wait", "--for=condition=Ready", "vm/web", "--timeout", "1"]);
    assert_eq!(outcome.code, Some(4), "{outcome}");
}
