//! Which VM a document brings back, and what may go for good.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use banger_core::admit::{Admission, Rules, admit_with_trash};
use banger_core::config::VmDefaults;
use banger_core::intent::{Deletion, ImageDigest, Intents, VmIntent};
use banger_core::trash::{Shelf, Trashed, document, expired, pinned};
use banger_protocol::DiskRole;
use banger_testkit::generate;
use banger_testkit::read::{image, reading, vm};
use jiff::Timestamp;

/// VM `n`, called `web`, as it went: at that second, by name or by vanishing.
fn entry(n: u16, second: i64, explicit: bool) -> Trashed {
    let at = Timestamp::from_second(second).unwrap();
    let mut vm = generate::vm(n, generate::spec("debian"));
    vm.metadata.name = generate::name("web");
    vm.image = Some(ImageDigest(format!("{n:064}")));
    vm.deletion = Some(Deletion {
        timestamp: at,
        explicit,
        purge: false,
    });
    Trashed {
        id: format!("entry-{n}"),
        uid: vm.uid,
        trashed: at,
        disk: None,
        vm: Some(vm),
        disks: vec![DiskRole::Cow],
        taken: 1,
        unread: None,
    }
}

fn admitted(shelf: &Shelf, before: &Intents) -> Admission {
    let rules = Rules {
        subnet: "172.30.0.0/16".parse().unwrap(),
        slots: 100,
        defaults: VmDefaults::default(),
    };
    let mut next = 100;
    let mut mint = || {
        next += 1;
        generate::uid(next)
    };
    let files = [
        ("i.yaml", image("debian")),
        ("web.yaml", vm("web", "debian", "")),
    ];
    let files: Vec<_> = files.iter().map(|(a, b)| (*a, b.as_str())).collect();
    admit_with_trash(
        &reading(&files),
        before,
        &BTreeSet::new(),
        shelf,
        &rules,
        &mut mint,
        Timestamp::UNIX_EPOCH,
    )
}

/// The VM that `web` becomes, given these entries.
fn web(entries: &[Trashed], wanted: &[&str]) -> VmIntent {
    let wanted = wanted.iter().map(|id| (*id).to_owned()).collect();
    let shelf = Shelf::of(entries, &wanted, &Intents::default());
    let admission = admitted(&shelf, &Intents::default());
    admission
        .intents
        .vm(&generate::name("web"))
        .unwrap()
        .clone()
}

#[test]
fn the_newest_comes_back_if_its_document_vanished() {
    let vanished = web(&[entry(1, 10, false), entry(2, 20, false)], &[]);
    assert_eq!(vanished.uid, generate::uid(2));
    assert!(vanished.restoring && vanished.deletion.is_none());
    assert_eq!(vanished.image, Some(ImageDigest(format!("{:064}", 2))));
    // The name was deleted since: what went before it stays.
    let deleted = web(&[entry(1, 10, false), entry(2, 20, true)], &[]);
    assert!(deleted.uid != generate::uid(1) && deleted.uid != generate::uid(2));
    assert!(!deleted.restoring);
}

#[test]
fn what_a_person_wants_back_comes_first() {
    let entries = [entry(1, 10, true), entry(2, 20, false)];
    assert_eq!(web(&entries, &["entry-1"]).uid, generate::uid(1));
}

#[test]
fn a_replaced_disk_brings_nothing_back() {
    let replaced = Trashed {
        disk: Some(DiskRole::Cow),
        ..entry(1, 10, false)
    };
    assert_ne!(web(&[replaced], &["entry-1"]).uid, generate::uid(1));
}

#[test]
fn an_unreadable_trash_makes_nothing_new_and_keeps_what_there_is() {
    let shelf = Shelf::unknown("it burns");
    let admission = admitted(&shelf, &Intents::default());
    assert!(admission.intents.vms.is_empty());
    assert!(admission.problems[0].message.contains("it burns"));
    let before = admitted(&Shelf::default(), &Intents::default()).intents;
    let again = admitted(&shelf, &before);
    assert_eq!(again.intents, before);
    assert!(again.problems.is_empty());
}

#[test]
fn only_what_was_seen_long_enough_ago_goes() {
    let entries = [entry(1, 10, true), entry(2, 20, true), entry(3, 30, true)];
    let since = BTreeMap::from([("entry-1".to_owned(), 0), ("entry-2".to_owned(), 50)]);
    let due = |running_ms| {
        let due = expired(&entries, &since, running_ms, 100, &Intents::default());
        due.into_iter().map(|it| it.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(due(99), Vec::<String>::new());
    assert_eq!(due(100), ["entry-1"]);
    // The third has not been seen: nothing is known of how long it lies there.
    assert_eq!(due(10_000), ["entry-1", "entry-2"]);
    let mut intents = Intents::default();
    let mut coming = entry(1, 10, false).vm.unwrap();
    coming.restoring = true;
    intents.vms.insert(coming.uid, coming);
    assert!(expired(&entries[..1], &since, 10_000, 100, &intents).is_empty());
}

#[test]
fn roots_pin_their_image_and_work_disks_do_not() {
    let work = Trashed {
        disks: vec![DiskRole::Work],
        ..entry(2, 20, true)
    };
    let pins = pinned(&[entry(1, 10, true), work]);
    let image = |n: u16| ImageDigest(format!("{n:064}"));
    assert_eq!(pins.images, BTreeSet::from([image(1)]));
    assert!(pins.may_hold(&image(1)) && !pins.may_hold(&image(2)));
}

/// An orphan's, or one whose description can't be read.
#[test]
fn a_root_of_which_nothing_is_known_pins_every_image() {
    let unknown = |n, disk| Trashed {
        disks: vec![disk],
        vm: None,
        ..entry(n, 20, true)
    };
    let entries = [entry(1, 10, true), unknown(2, DiskRole::Work)];
    let other = ImageDigest(format!("{:064}", 7));
    assert!(!pinned(&entries).may_hold(&other));
    let entries = [entry(1, 10, true), unknown(3, DiskRole::Cow)];
    let pins = pinned(&entries);
    assert!(pins.may_hold(&other));
    assert_eq!(pins.any.as_deref(), Some("entry-3"));
}

/// `web`'s entry without a description that can be read.
fn unread(n: u16, second: i64, suffix: &str) -> Trashed {
    let whole = entry(n, second, false);
    Trashed {
        id: format!("{}-web-20261128T191426Z{suffix}", whole.uid),
        disk: None,
        vm: None,
        unread: Some("trash.json: EOF".into()),
        ..whole
    }
}

#[test]
fn an_entry_that_cannot_be_read_makes_nothing_new_of_its_name() {
    for suffix in ["", "-1"] {
        let entries = [entry(1, 10, true), unread(2, 20, suffix)];
        let shelf = Shelf::of(&entries, &BTreeSet::new(), &Intents::default());
        let admission = admitted(&shelf, &Intents::default());
        assert!(admission.intents.vm(&generate::name("web")).is_none());
        let problem = &admission.problems[0];
        assert!(problem.message.contains("trash.json: EOF"), "{problem:?}");
        let remedy = problem.remedy.as_deref().unwrap();
        assert!(remedy.contains(&entries[1].id), "{remedy}");
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_in_no_way_of_others() {
    // Of another name; older than what is known; without a disk; of a VM that lives.
    let mut other = unread(2, 20, "");
    other.id = other.id.replace("-web-", "-web-shop-");
    let empty = Trashed {
        disks: Vec::new(),
        ..unread(3, 30, "")
    };
    let entries = [unread(4, 5, ""), entry(1, 10, false), other, empty];
    assert_eq!(web(&entries, &[]).uid, generate::uid(1));
    assert_eq!(
        web(&[entry(1, 10, true), unread(2, 20, "")], &["entry-1"]).uid,
        generate::uid(1)
    );
    let mut intents = Intents::default();
    let mut living = generate::vm(2, generate::spec("debian"));
    living.metadata.name = generate::name("shop");
    intents.vms.insert(living.uid, living);
    let shelf = Shelf::of(&[unread(2, 20, "")], &BTreeSet::new(), &intents);
    assert!(admitted(&shelf, &Intents::default()).problems.is_empty());
}

#[test]
fn a_document_that_was_not_kept_is_written_anew() {
    let mut vm = entry(1, 10, true).vm.unwrap();
    let text = document(&vm).text;
    let read = banger_testkit::read::reading(&[("web.yaml", &text)]);
    let [file] = read.files.as_slice() else {
        panic!("{read:?}");
    };
    assert_eq!(file.problems, [], "{text}");
    let banger_core::api::Body::VirtualMachine(spec) = &file.validated[0].body else {
        panic!("{text}");
    };
    assert_eq!(
        (spec, &file.validated[0].metadata),
        (&vm.written, &vm.metadata)
    );
    vm.document = Some(banger_core::intent::WrittenDocument {
        file: "/vms/web.yaml".into(),
        text: "# mine\n".into(),
    });
    assert_eq!(document(&vm).text, "# mine\n");
}
