//! `diff`: shown, never done.

use banger::wire::Request;
use banger_core::diff::DiffReport;

use crate::bench::Bench;
use crate::objects::{diff, diff_entry, steady, vm};

const VM: &str = "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\nspec: {image: debian-12, vcpus: 2}\n";

#[test]
fn nothing() {
    let bench = Bench::new();
    bench.daemon(steady(vec![vm("web")]));
    let outcome = bench.banger(&["diff"]);
    assert_eq!(
        (outcome.code, outcome.stdout, outcome.stderr),
        (Some(0), String::new(), String::new())
    );
}

#[test]
fn differences() {
    let bench = Bench::new();
    bench.daemon(|_| diff(diff_entry("web", "modify", "restart", Some("--restart"))));
    insta::assert_snapshot!(bench.banger(&["diff"]));
    insta::assert_snapshot!("differences_in_full", bench.banger(&["diff", "-v"]));
}

#[test]
fn a_file_is_imagined_and_not_written() {
    let bench = Bench::new();
    let daemon = bench.daemon(|request| match request {
        Request::Diff { .. } => diff(diff_entry("web", "create", "live", None)),
        request => steady(Vec::new())(request),
    });
    bench.write("work/given.yaml", VM);
    let outcome = bench.banger(&["diff", "-f", "given.yaml"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let [Request::Diff { overlay }] = &daemon.asked()[..] else {
        panic!("{:?}", daemon.asked());
    };
    assert_eq!(overlay[0].path, bench.vm_file("web.yaml"));
    assert_eq!(overlay[0].text.as_deref(), Some(VM));
    assert!(!bench.vm_file("web.yaml").exists());
    // Another object's difference is none of this file's.
    bench.write("work/other.yaml", &VM.replace("web", "db"));
    assert_eq!(bench.banger(&["diff", "-f", "other.yaml"]).code, Some(0));
}

#[test]
fn documents_that_cannot_be_accepted() {
    let bench = Bench::new();
    bench.daemon(|_| {
        diff(DiffReport {
            problems: vec![banger_core::problem::Problem {
                file: "/c/web.yaml".into(),
                at: None,
                object: None,
                field: None,
                message: "vm/web is declared twice".into(),
                remedy: None,
                line: None,
            }],
            ..DiffReport::default()
        })
    });
    let outcome = bench.banger(&["diff"]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome
            .stderr
            .contains("/c/web.yaml: vm/web is declared twice"),
        "{outcome}"
    );
}
