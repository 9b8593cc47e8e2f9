//! When a missing document means a deletion, and when it doesn't.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use banger_core::admit::{Rules, admit};
use banger_core::api::Kind;
use banger_core::config::VmDefaults;
use banger_core::intent::Intents;
use banger_core::reading::Reading;
use banger_core::vanish::{HeldBy, SEVERAL_MS, STABLE_MS, Vanish, WINDOW_MS};
use banger_testkit::generate;
use banger_testkit::read::{image, reading, vm};
use jiff::Timestamp;

fn files(vms: usize, but: &[usize]) -> Reading {
    let mut files = vec![("i.yaml".to_owned(), image("debian"))];
    for n in (0..vms).filter(|n| !but.contains(n)) {
        files.push((format!("{n}.yaml"), vm(&format!("vm-{n}"), "debian", "")));
    }
    let files: Vec<_> = files
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    reading(&files)
}

fn admitted(vms: usize) -> Intents {
    let rules = Rules {
        subnet: "172.30.0.0/16".parse().unwrap(),
        slots: 100,
        defaults: VmDefaults::default(),
    };
    let mut next = 0;
    let mut mint = || {
        next += 1;
        generate::uid(next)
    };
    let nothing = BTreeSet::new();
    let now = Timestamp::UNIX_EPOCH;
    admit(
        &files(vms, &[]),
        &Intents::default(),
        &nothing,
        &rules,
        &mut mint,
        now,
    )
    .intents
}

fn key(n: usize) -> (Kind, banger_core::api::Name) {
    (Kind::VirtualMachine, generate::name(&format!("vm-{n}")))
}

#[test]
fn two_reads_far_enough_apart_must_lack_it() {
    let (mut vanish, before) = (Vanish::default(), admitted(2));
    let first = vanish.step(&files(2, &[1]), &before, 0);
    assert!(first.gone.is_empty());
    assert_eq!(first.recheck_after_ms, Some(STABLE_MS));
    let early = vanish.step(&files(2, &[1]), &before, STABLE_MS - 1);
    assert!(early.gone.is_empty());
    assert_eq!(early.recheck_after_ms, Some(1));
    let due = vanish.step(&files(2, &[1]), &before, STABLE_MS);
    assert_eq!(due.gone, BTreeSet::from([key(1)]));
}

#[test]
fn a_rename_save_begins_the_wait_anew() {
    let (mut vanish, before) = (Vanish::default(), admitted(2));
    vanish.step(&files(2, &[1]), &before, 0);
    vanish.step(&files(2, &[]), &before, 1_000);
    let again = vanish.step(&files(2, &[1]), &before, STABLE_MS);
    assert!(again.gone.is_empty());
}

#[test]
fn an_unreadable_directory_or_file_deletes_nothing() {
    let (mut vanish, before) = (Vanish::default(), admitted(2));
    let mut unread = files(2, &[1]);
    unread.incomplete = Some("~/.config/banger/vms: Permission denied".into());
    for now in [0, STABLE_MS, 10 * STABLE_MS] {
        let result = vanish.step(&unread, &before, now);
        assert!(result.gone.is_empty());
        assert!(result.held[&key(1)].message.contains("Permission denied"));
        assert_eq!(result.held[&key(1)].reason, HeldBy::SourceIncomplete);
    }
    let mut garbled = files(2, &[1]);
    garbled
        .files
        .extend(reading(&[("x.yaml", "kind: [")]).files);
    for now in [20, 21, 30] {
        let result = vanish.step(&garbled, &before, now * STABLE_MS);
        assert!(result.gone.is_empty());
        assert!(result.held[&key(1)].message.contains("x.yaml"));
        assert_eq!(result.held[&key(1)].reason, HeldBy::SourceIncomplete);
    }
}

/// `banger rename`, and then the document is spoilt: its object has the new name.
#[test]
fn a_renamed_document_that_is_not_accepted_is_still_its_vms() {
    let mut before = admitted(2);
    let renamed = before.vms.values_mut().find(|vm| vm.name() == &key(1).1);
    renamed.unwrap().renaming = Some(generate::name("shop"));
    let good = vm("vm-0", "debian", "");
    let bad = vm("shop", "debian", "vcpus: many");
    let images = image("debian");
    let files: [(&str, &str); 3] = [("i.yaml", &images), ("0.yaml", &good), ("1.yaml", &bad)];
    let mut vanish = Vanish::default();
    for now in [0, 10 * STABLE_MS, 20 * STABLE_MS] {
        assert!(vanish.step(&reading(&files), &before, now).gone.is_empty());
    }
    // Without it, or where another VM has the name, the old one is gone.
    let other = {
        let mut other = before.clone();
        let mut shop = generate::vm(9, generate::spec("debian"));
        shop.metadata.name = generate::name("shop");
        other.vms.insert(shop.uid, shop);
        other
    };
    for (files, before) in [(&files[..2], &before), (&files[..], &other)] {
        let mut vanish = Vanish::default();
        vanish.step(&reading(files), before, 0);
        let gone = vanish.step(&reading(files), before, STABLE_MS).gone;
        assert_eq!(gone, BTreeSet::from([key(1)]));
    }
}

#[test]
fn a_document_that_became_bad_is_still_declared() {
    let (mut vanish, before) = (Vanish::default(), admitted(1));
    let bad = vm("vm-0", "debian", "vcpus: many");
    let read = reading(&[("i.yaml", &image("debian")), ("0.yaml", &bad)]);
    for now in [0, 10 * STABLE_MS] {
        assert!(vanish.step(&read, &before, now).gone.is_empty());
    }
}

#[test]
fn several_that_go_at_once_get_a_minute_to_come_back() {
    let (mut vanish, before) = (Vanish::default(), admitted(5));
    let half = files(5, &[1, 2]);
    assert_eq!(
        vanish.step(&half, &before, 0).recheck_after_ms,
        Some(STABLE_MS)
    );
    assert_eq!(
        vanish.step(&half, &before, STABLE_MS).recheck_after_ms,
        Some(SEVERAL_MS - STABLE_MS)
    );
    let waiting = vanish.step(&half, &before, SEVERAL_MS - 1);
    assert!(waiting.gone.is_empty());
    assert!(waiting.held[&key(1)].message.contains("after 60 s"));
    // They come back one after another: the last one isn't alone.
    let one = vanish.step(&files(5, &[1]), &before, SEVERAL_MS - 1);
    assert!(one.gone.is_empty());
    assert!(
        vanish
            .step(&files(5, &[]), &before, SEVERAL_MS)
            .gone
            .is_empty()
    );
    // And for good.
    vanish.step(&half, &before, 2 * SEVERAL_MS);
    assert_eq!(vanish.step(&half, &before, 3 * SEVERAL_MS).gone.len(), 2);
}

#[test]
fn more_than_half_at_once_is_held_and_two_are_not() {
    let before = admitted(6);
    let mut vanish = Vanish::default();
    vanish.step(&files(6, &[0, 1, 2, 3]), &before, 0);
    let many = vanish.step(&files(6, &[0, 1, 2, 3]), &before, STABLE_MS);
    assert!(many.gone.is_empty());
    assert!(many.held[&key(0)].message.contains("4 of 6"));
    assert_eq!(many.held[&key(0)].reason, HeldBy::DocumentMissing);

    let small = admitted(2);
    let mut vanish = Vanish::default();
    vanish.step(&files(2, &[0, 1]), &small, 0);
    assert_eq!(
        vanish
            .step(&files(2, &[0, 1]), &small, SEVERAL_MS)
            .gone
            .len(),
        2
    );
}

#[test]
fn the_guard_counts_over_its_window() {
    let mut before = admitted(5);
    let mut vanish = Vanish::default();
    let go = |vanish: &mut Vanish, before: &mut Intents, but: &[usize], now: u64| {
        vanish.step(&files(5, but), before, now);
        let result = vanish.step(&files(5, but), before, now + SEVERAL_MS);
        before.vms.retain(|_, vm| {
            !result
                .gone
                .contains(&(Kind::VirtualMachine, vm.name().clone()))
        });
        result
    };
    assert_eq!(go(&mut vanish, &mut before, &[0, 1], 0).gone.len(), 2);
    let third = go(&mut vanish, &mut before, &[0, 1, 2], 100_000);
    assert!(
        third.gone.is_empty(),
        "the third of five within ten minutes"
    );
    let later = go(&mut vanish, &mut before, &[0, 1, 2], 2 * WINDOW_MS);
    assert!(
        later.gone.is_empty() && later.held.len() == 1,
        "waiting confirms nothing"
    );
    // Back once, and missing again after the window: one of three may go.
    vanish.step(&files(5, &[0, 1]), &before, 3 * WINDOW_MS);
    let again = go(&mut vanish, &mut before, &[0, 1, 2], 4 * WINDOW_MS);
    assert_eq!(again.gone.len(), 1);
}

#[test]
fn an_object_that_must_not_be_deleted_stays_until_that_is_taken_back() {
    let mut before = admitted(2);
    let vm = before
        .vms
        .values_mut()
        .find(|vm| vm.name().as_str() == "vm-1")
        .unwrap();
    let annotations = &mut vm.metadata.annotations;
    annotations.insert("banger.dev/prevent-deletion".into(), "true".into());
    let mut vanish = Vanish::default();
    for now in [0, SEVERAL_MS, 2 * SEVERAL_MS] {
        let result = vanish.step(&files(2, &[1]), &before, now);
        assert!(result.gone.is_empty());
        assert!(result.held[&key(1)].message.contains("prevent-deletion"));
    }
    // The one beside it goes as ever, after its own two seconds.
    vanish.step(&files(2, &[0, 1]), &before, 3 * SEVERAL_MS);
    let due = vanish.step(&files(2, &[0, 1]), &before, 3 * SEVERAL_MS + STABLE_MS);
    assert_eq!(due.gone, BTreeSet::from([key(0)]));
}

#[test]
fn a_word_lets_go_of_what_is_held_and_of_nothing_else() {
    let (mut vanish, before) = (Vanish::default(), admitted(4));
    let bare = files(4, &[0, 1, 2, 3]);
    vanish.step(&bare, &before, 0);
    let held = vanish.step(&bare, &before, STABLE_MS);
    assert_eq!(held.guarded.len(), 4);
    assert!(held.gone.is_empty());
    assert!(vanish.confirm(&key(0)));
    assert!(!vanish.confirm(&key(0)), "once is enough");
    assert!(vanish.confirm(&key(1)));
    // The second one's document is back before the next read.
    let one_back = files(4, &[0, 2, 3]);
    let after = vanish.step(&one_back, &before, STABLE_MS + 1);
    assert_eq!(after.gone, BTreeSet::from([key(0)]));
    assert_eq!(after.guarded, BTreeSet::from([key(2), key(3)]));
    // A word doesn't outlive that.
    let gone_again = vanish.step(&bare, &before, STABLE_MS + 2);
    assert!(!gone_again.gone.contains(&key(1)));
}
