//! `db`: on the files themselves, without a daemon.

use std::fs;

use banger::store::Store;

use crate::bench::Bench;

fn state(bench: &Bench) -> String {
    let path = bench.path("state");
    fs::create_dir_all(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn there_and_back() {
    let bench = Bench::new();
    let state = state(&bench);
    drop(Store::open(state.as_ref()).unwrap());
    let db = |arguments: &[&str]| {
        let mut all = vec!["db"];
        all.extend(arguments);
        all.extend(["--state-dir", &state]);
        bench.banger(&all)
    };
    let backup = db(&["backup", "copy.db"]);
    assert_eq!(backup.code, Some(0), "{backup}");
    assert!(backup.stdout.contains("0 VMs and 0 images"), "{backup}");
    let again = db(&["backup", "copy.db"]);
    assert_eq!(again.code, Some(6), "{again}");
    assert_eq!(db(&["check"]).code, Some(0));

    let unasked = db(&["restore", "copy.db"]);
    assert_eq!(unasked.code, Some(2), "{unasked}");
    assert!(unasked.stderr.contains("--yes"), "{unasked}");
    let running = Store::open(state.as_ref()).unwrap();
    let refused = db(&["restore", "copy.db", "--yes"]);
    assert_eq!(refused.code, Some(6), "{refused}");
    assert!(refused.stderr.contains("systemctl stop"), "{refused}");
    drop(running);
    let restored = db(&["restore", "copy.db", "--yes"]);
    assert_eq!(restored.code, Some(0), "{restored}");

    fs::write(bench.path("state/banger.db"), "scrambled".repeat(1000)).unwrap();
    let damaged = db(&["check"]);
    assert_eq!(damaged.code, Some(70), "{damaged}");
    assert!(damaged.stderr.contains("banger db restore"), "{damaged}");
    let missing = db(&["restore", "nothing.db", "--yes"]);
    assert_eq!(missing.code, Some(3), "{missing}");
}
