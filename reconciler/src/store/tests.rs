#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use banger_core::api::{Kind, Metadata};
use banger_core::intent::{ImageIntent, Intents, VmIntent};
use banger_protocol::{Slot, VmUid};
use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;

use banger_testkit::generate::{self, uid};

use super::event::{self, NewEvent};
use super::{Batch, OpenError, Store, StoreError, handle, migration, open};
use crate::wire::response::Severity;

mod faults;
mod trash;
mod vanish;

fn metadata(name: &str) -> Metadata {
    Metadata {
        name: generate::name(name),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

fn vm(n: u16, name: &str) -> VmIntent {
    VmIntent {
        metadata: metadata(name),
        ..generate::vm(n, generate::spec("debian"))
    }
}

fn image(n: u16, name: &str) -> ImageIntent {
    ImageIntent {
        uid: uid(n),
        generation: 3,
        ..generate::image(n, name)
    }
}

fn none() -> (Intents, BTreeMap<VmUid, PathBuf>) {
    (Intents::default(), BTreeMap::new())
}

fn batch(
    before: &(Intents, BTreeMap<VmUid, PathBuf>),
    after: &(Intents, BTreeMap<VmUid, PathBuf>),
) -> Batch {
    Batch::between((&before.0, &before.1), (&after.0, &after.1))
}

fn state(vms: Vec<VmIntent>, images: Vec<ImageIntent>) -> (Intents, BTreeMap<VmUid, PathBuf>) {
    let sources = vms
        .iter()
        .map(|vm| (vm.uid, PathBuf::from(format!("/vms/{}.yaml", vm.name()))))
        .collect();
    let intents = Intents {
        vms: vms.into_iter().map(|vm| (vm.uid, vm)).collect(),
        images: images.into_iter().map(|image| (image.uid, image)).collect(),
    };
    (intents, sources)
}

fn event(message: &str) -> NewEvent {
    NewEvent {
        kind: Kind::VirtualMachine,
        name: "web".into(),
        severity: Severity::Normal,
        reason: "Tested",
        message: message.into(),
    }
}

fn schema(path: &Path) -> Vec<(String, String, Option<String>)> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
        .unwrap();
    let rows = statement
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.intents, Intents::default());
    let after = state(vec![vm(1, "web"), vm(2, "db")], vec![image(3, "debian")]);
    let mut first = batch(&none(), &after);
    first.boot_id = Some("boot".into());
    store.commit(first).await.unwrap();
    let path = dir.path().to_owned();
    reopen(store, &path, |loaded| {
        assert_eq!((loaded.intents, loaded.sources), after);
        assert_eq!(loaded.boot_id.as_deref(), Some("boot"));
    });
}

/// Closes the store and opens it again.
fn reopen(store: Store, path: &Path, check: impl FnOnce(super::Loaded)) {
    drop(store);
    let loaded = Store::open(path).unwrap().1;
    check(loaded);
}

#[tokio::test]
async fn a_batch_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let mut twice = vm(2, "db");
    twice.allocation.slot = Slot::try_from(1).unwrap();
    let mut bad = batch(&none(), &state(vec![vm(1, "web"), twice], vec![]));
    bad.events.push(event("never"));
    let error = store.commit(bad).await.unwrap_err();
    assert!(matches!(error, StoreError::Sqlite(_)), "{error:?}");
    assert_eq!(store.events(None).await.unwrap(), Vec::new());
    let path = dir.path().to_owned();
    reopen(store, &path, |loaded| {
        assert_eq!(loaded.intents, Intents::default());
    });
}

#[tokio::test]
async fn a_name_may_pass_to_a_successor_within_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let before = state(vec![vm(1, "web")], vec![]);
    store.commit(batch(&none(), &before)).await.unwrap();
    let mut successor = vm(2, "web");
    successor.allocation.slot = Slot::try_from(1).unwrap();
    let after = state(vec![successor], vec![]);
    store.commit(batch(&before, &after)).await.unwrap();
    let path = dir.path().to_owned();
    reopen(store, &path, |loaded| {
        assert_eq!((loaded.intents, loaded.sources), after);
    });
}

#[test]
fn a_second_daemon_is_refused_and_told_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::Locked { pid: Some(pid), .. } if pid == std::process::id()),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("(pid {})", std::process::id())),
        "{error}"
    );
}

#[test]
fn a_newer_database_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("banger.db");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }));
    assert!(
        text.contains("version 99") && text.contains(&format!("up to {}", migration::LATEST)),
        "{text}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_database_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("banger.db");
    fs::write(&path, b"this is a letter, not a database".repeat(100)).unwrap();
    let before = fs::read(&path).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_page_is_found_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("banger.db");
    {
        let (mut connection, _) = open::open(&path).unwrap();
        let vms = (1..200).map(|n| vm(n, &format!("vm-{n}"))).collect();
        let batch = batch(&none(), &state(vms, vec![]));
        handle::commit(&mut connection, &batch, Timestamp::UNIX_EPOCH).unwrap();
    }
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    for page in 8..(length / 4096).min(24) {
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
    }
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
}

#[test]
fn a_row_of_a_later_program_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("banger.db");
    let (mut connection, _) = open::open(&path).unwrap();
    let batch = batch(&none(), &state(vec![vm(1, "web")], vec![]));
    handle::commit(&mut connection, &batch, Timestamp::UNIX_EPOCH).unwrap();
    connection
        .execute(
            "UPDATE object SET intent = json_set(intent, '$.spec.warp', 9)",
            (),
        )
        .unwrap();
    drop(connection);
    let error = Store::open(dir.path()).unwrap_err();
    assert!(
        error.to_string().contains("VirtualMachine web"),
        "{error:?}"
    );
}

#[test]
fn fresh_and_migrated_databases_have_the_same_schema() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = dir.path().join("fresh.db");
    open::open(&fresh).unwrap();
    let expected = schema(&fresh);
    for from in 1..migration::LATEST {
        let old = dir.path().join(format!("from-{from}.db"));
        let mut connection = open::connect(&old).unwrap();
        migration::migrate(&mut connection, from).unwrap();
        assert_eq!(migration::version(&connection).unwrap(), from);
        let batch = batch(&none(), &state(vec![vm(1, "web")], vec![]));
        handle::commit(&mut connection, &batch, Timestamp::UNIX_EPOCH).unwrap();
        drop(connection);
        assert_ne!(schema(&old), expected);
        let (connection, loaded) = open::open(&old).unwrap();
        assert_eq!(loaded.intents.vms.len(), 1);
        assert_eq!(schema(&old), expected);
        let history: Vec<i64> = connection
            .prepare("SELECT version FROM migration ORDER BY version")
            .unwrap()
            .query_map((), |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(history, (1..=migration::LATEST).collect::<Vec<_>>());
    }
}

#[test]
fn durability_settings_are_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (connection, _) = open::open(&dir.path().join("banger.db")).unwrap();
    let mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    let synchronous: i64 = connection
        .pragma_query_value(None, "synchronous", |row| row.get(0))
        .unwrap();
    let foreign: bool = connection
        .pragma_query_value(None, "foreign_keys", |row| row.get(0))
        .unwrap();
    assert_eq!((mode.as_str(), synchronous, foreign), ("wal", 2, true));
}

#[test]
fn equal_events_in_a_row_are_counted_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let (connection, _) = open::open(&dir.path().join("banger.db")).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let same = [event("one"), event("one"), event("two"), event("one")];
    let written = event::append(&connection, &same, now, 100).unwrap();
    let seen: Vec<_> = written.iter().map(|e| (e.id, e.count)).collect();
    assert_eq!(seen, [(1, 1), (1, 2), (2, 1), (3, 1)]);
    let many: Vec<_> = (0..20).map(|n| event(&n.to_string())).collect();
    event::append(&connection, &many, now, 5).unwrap();
    let web = (Kind::VirtualMachine, "web".parse().unwrap());
    let left = event::list(&connection, Some(&web)).unwrap();
    let left: Vec<_> = left.iter().map(|e| e.message.as_str()).collect();
    assert_eq!(left, ["15", "16", "17", "18", "19"]);
    let other = (Kind::Image, "web".parse().unwrap());
    assert!(event::list(&connection, Some(&other)).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever follows whatever: the rows are those of the last state.
    #[test]
    fn rows_follow_the_state(steps in proptest::collection::vec(
        proptest::collection::btree_map(1u16..12, (1u64..u64::MAX, 0u32..9, any::<bool>()), 0..8), 1..6))
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("banger.db");
        let (mut connection, _) = open::open(&path).unwrap();
        let mut before = none();
        for step in steps {
            let mut vms = Vec::new();
            let mut images = Vec::new();
            for (n, (generation, failures, is_vm)) in step {
                if is_vm {
                    let mut vm = vm(n, &format!("o-{n}"));
                    vm.generation = generation >> 1;
                    vm.crash.failures = failures;
                    vm.crash.not_before_ms = generation;
                    vms.push(vm);
                } else {
                    let mut image = image(n + 100, &format!("o-{n}"));
                    image.generation = generation >> 1;
                    images.push(image);
                }
            }
            let after = state(vms, images);
            handle::commit(&mut connection, &batch(&before, &after), Timestamp::UNIX_EPOCH).unwrap();
            before = after;
        }
        drop(connection);
        let (_, loaded) = open::open(&path).unwrap();
        prop_assert_eq!((loaded.intents, loaded.sources), before);
    }
}
