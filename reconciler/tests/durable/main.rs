//! Every file that is put in place by a rename is on the disk before, and its name
//! is right after: seen in the order of the system calls, under strace(1).
//!
//! ```text
//! a program under strace -> calls, with the paths of their descriptors -> rules
//! ```
//!
//! What is held to the rules is enumerated from the calls: what is new is held to
//! them unnamed, and what needs none of it stands in [`rules::HINTS`] with the reason.
//! The programs run as people run them, the daemon on its simulated host; what the
//! real host does with files alone runs in a process of its own.
#![allow(clippy::unwrap_used, missing_docs)]

mod calls;
mod programs;
mod real_host;
mod rules;
mod strace;

use std::path::Path;

use banger::guest::known_hosts;
use rules::{HINTS, Verdict};

/// The line that the test runner counts.
fn skipped(name: &str, reason: &str) {
    eprintln!("SKIPPED {name}: {reason}");
}

fn judge(trace: &Path, root: &Path) -> Verdict {
    let trace = std::fs::read_to_string(trace).unwrap();
    rules::judge(&calls::parse(&trace), root)
}

#[test]
fn what_the_programs_put_in_place_is_durable() {
    let name = "what_the_programs_put_in_place_is_durable";
    if let Some(why) = strace::missing() {
        return skipped(name, &why);
    }
    let site = programs::Site::new();
    let mut placed = Vec::new();
    let mut run = |what: &str, arguments: &[&str]| {
        let verdict = site.banger(what, arguments);
        assert_eq!(verdict.broken, [""; 0], "banger {what}");
        placed.extend(verdict.placed);
    };
    let daemon = site.daemon();
    let documents = site.documents();
    run("apply", &["apply", "-f", &documents]);
    run("rename", &["rename", "vm", "web", "shop"]);
    run("delete", &["delete", "vm", "shop"]);
    run("undelete", &["undelete", "vm", "shop"]);
    let verdict = daemon.end();
    assert_eq!(verdict.broken, [""; 0], "bangerd --sim");
    let copy = site.at("state/copy.db");
    let state = site.at("state");
    run("backup", &["db", "backup", "--state-dir", &state, &copy]);
    run(
        "restore",
        &["db", "restore", "--yes", "--state-dir", &state, &copy],
    );
    // The VM's was written, renamed in, and put back.
    for (below, times) in [
        ("home/.config/banger/images/debian.yaml", 1),
        ("home/.config/banger/vms/web.yaml", 3),
        ("state/copy.db", 1),
        ("state/banger.db.replaced", 1),
        ("state/banger.db", 1),
    ] {
        let found = placed.iter().filter(|path| *path == Path::new(below));
        assert_eq!(found.count(), times, "{below}: {placed:#?}");
    }
}

#[test]
fn what_the_real_host_puts_in_place_is_durable() {
    let name = "what_the_real_host_puts_in_place_is_durable";
    if let Some(why) = strace::missing().or_else(real_host::missing) {
        return skipped(name, &why);
    }
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let trace = root.join("trace");
    real_host::under_strace(&root, &trace);
    let verdict = judge(&trace, &root);
    assert_eq!(verdict.broken, [""; 0]);
    let names = verdict.placed.iter().filter_map(|path| path.file_name());
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    for expected in [
        "vm.json",
        "work.ext4",
        "trash.json",
        "id_ed25519",
        "id_ed25519.pub",
        &real_host::uid().to_string(),
    ] {
        assert!(
            names.iter().any(|name| name == expected),
            "{expected}: {names:?}"
        );
    }
    let keys = Path::new("home")
        .join(known_hosts::DIRECTORY)
        .join(real_host::uid().to_string());
    assert!(verdict.placed.contains(&keys), "{:?}", verdict.placed);
    let is_image = |name: &str| name.len() == 64 && name.bytes().all(|it| it.is_ascii_hexdigit());
    assert!(names.iter().any(|name| is_image(name)), "{names:?}");
    // One that nobody writes any more has no place in the list.
    let hints: Vec<_> = HINTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(verdict.hints.into_iter().collect::<Vec<_>>(), hints);
}
