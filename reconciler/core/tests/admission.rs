//! Admission: what documents become, whatever order they come in.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use banger_core::admit::{Admission, Rules, admit};
use banger_core::api::{Kind, Quantity};
use banger_core::config::VmDefaults;
use banger_core::intent::{Deletion, Intents, PowerOverride, VmIntent};
use banger_core::reading::Reading;
use banger_protocol::VmUid;
use banger_testkit::generate;
use banger_testkit::read::{image, reading, vm};
use jiff::Timestamp;
use proptest::prelude::*;

fn rules(slots: u16) -> Rules {
    Rules {
        subnet: "172.30.0.0/16".parse().unwrap(),
        slots,
        defaults: VmDefaults::default(),
    }
}

fn take(reading: &Reading, before: &Intents, rules: &Rules) -> Admission {
    let mut next = u16::try_from(before.vms.len() + before.images.len()).unwrap();
    let mut mint = || -> VmUid {
        next += 1;
        generate::uid(next)
    };
    admit(
        reading,
        before,
        &BTreeSet::new(),
        rules,
        &mut mint,
        Timestamp::UNIX_EPOCH,
    )
}

fn take_files(files: &[(&str, &str)], before: &Intents) -> Admission {
    take(&reading(files), before, &rules(100))
}

fn named<'a>(admission: &'a Admission, name: &str) -> &'a VmIntent {
    admission.intents.vm(&generate::name(name)).unwrap()
}

fn why(admission: &Admission, name: &str) -> String {
    let key = (Kind::VirtualMachine, generate::name(name));
    admission.rejected[&key]
        .iter()
        .map(|problem| problem.message.clone())
        .collect()
}

#[test]
fn a_document_read_again_changes_nothing() {
    let files = [
        ("a.yaml", image("debian")),
        ("b.yaml", vm("web", "debian", "vcpus: 2")),
    ];
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let first = take_files(&files, &Intents::default());
    assert_eq!(first.changed.len(), 2);
    let second = take_files(&files, &first.intents);
    assert!(second.changed.is_empty() && second.problems.is_empty());
    assert_eq!(second.intents, first.intents);
}

#[test]
fn only_a_difference_in_meaning_moves_the_generation() {
    let base = image("debian");
    let first = take_files(
        &[
            ("i.yaml", &base),
            ("w.yaml", &vm("web", "debian", "memory: 512Mi")),
        ],
        &Intents::default(),
    );
    let same = take_files(
        &[
            ("i.yaml", &base),
            (
                "other-name.yaml",
                &format!(
                    "# a comment\n{}",
                    vm("web", "debian", "memory: 0.5Gi").replace("0.5Gi", "524288Ki")
                ),
            ),
        ],
        &first.intents,
    );
    assert_eq!(named(&same, "web").generation, 1);
    let more = take_files(
        &[
            ("i.yaml", &base),
            ("w.yaml", &vm("web", "debian", "memory: 1Gi")),
        ],
        &same.intents,
    );
    assert_eq!(named(&more, "web").generation, 2);
    assert_eq!(named(&more, "web").uid, named(&first, "web").uid);
    assert_eq!(
        named(&more, "web").allocation,
        named(&first, "web").allocation
    );
}

#[test]
fn a_pinned_default_outlives_a_change_of_the_default() {
    let base = image("debian");
    let document = vm("web", "debian", "");
    let first = take_files(
        &[("i.yaml", &base), ("w.yaml", &document)],
        &Intents::default(),
    );
    let mut later = rules(100);
    later.defaults.memory = Quantity::from_mib(2048);
    let edited = vm("web", "debian", "vcpus: 2");
    let second = take(
        &reading(&[("i.yaml", &base), ("w.yaml", &edited)]),
        &first.intents,
        &later,
    );
    assert_eq!(named(&second, "web").spec.memory, Quantity::from_mib(512));
    assert_eq!(named(&second, "web").spec.vcpus, 2);
    // A value that was written and is taken out falls to the default of today.
    let third = take(
        &reading(&[("i.yaml", &base), ("w.yaml", &document)]),
        &second.intents,
        &later,
    );
    assert_eq!(named(&third, "web").spec.vcpus, 1);
}

#[test]
fn a_bad_edit_keeps_the_last_good_intent() {
    let base = image("debian");
    let first = take_files(
        &[
            ("i.yaml", &base),
            ("w.yaml", &vm("web", "debian", "vcpus: 2")),
        ],
        &Intents::default(),
    );
    let bad = take_files(
        &[
            ("i.yaml", &base),
            ("w.yaml", &vm("web", "debian", "vcpus: many")),
        ],
        &first.intents,
    );
    assert_eq!(bad.intents, first.intents);
    assert!(why(&bad, "web").contains("vcpus") || !bad.problems.is_empty());
    let place = bad.problems[0].at.unwrap();
    assert_eq!(place.0, 4, "the line of the field");
}

#[test]
fn two_declarations_of_one_object_are_both_refused() {
    let base = image("debian");
    let first = take_files(
        &[
            ("i.yaml", &base),
            ("w.yaml", &vm("web", "debian", "vcpus: 2")),
        ],
        &Intents::default(),
    );
    let both = take_files(
        &[
            ("i.yaml", &base),
            ("w.yaml", &vm("web", "debian", "vcpus: 3")),
            ("x.yaml", &vm("web", "debian", "vcpus: 4")),
        ],
        &first.intents,
    );
    assert_eq!(named(&both, "web").spec.vcpus, 2);
    assert!(why(&both, "web").contains("more than once"));
    let remedies: Vec<_> = both
        .problems
        .iter()
        .filter_map(|p| p.remedy.clone())
        .collect();
    assert!(remedies[0].contains("/vms/x.yaml:1") && remedies[1].contains("/vms/w.yaml:1"));
}

#[test]
fn an_undeclared_image_is_refused_until_it_is_declared() {
    let document = vm("web", "nowhere", "");
    let first = take_files(
        &[("i.yaml", &image("debian")), ("w.yaml", &document)],
        &Intents::default(),
    );
    assert!(first.intents.vms.is_empty());
    assert!(why(&first, "web").contains("`nowhere`"));
    let known = first.problems[0].remedy.clone().unwrap();
    assert!(known.contains("debian"), "{known}");
    let second = take_files(
        &[
            ("i.yaml", &image("debian")),
            ("j.yaml", &image("nowhere")),
            ("w.yaml", &document),
        ],
        &first.intents,
    );
    assert!(second.problems.is_empty());
}

#[test]
fn a_published_port_stays_with_its_holder() {
    let base = image("debian");
    let port = "network: {ports: [{host: 8080, guest: 80}]}";
    let first = take_files(
        &[("i.yaml", &base), ("z.yaml", &vm("zed", "debian", port))],
        &Intents::default(),
    );
    let second = take_files(
        &[
            ("i.yaml", &base),
            ("a.yaml", &vm("ann", "debian", port)),
            ("z.yaml", &vm("zed", "debian", port)),
        ],
        &first.intents,
    );
    assert!(why(&second, "ann").contains("8080") && why(&second, "ann").contains("`zed`"));
    assert_eq!(second.intents.vms.len(), 1);
    // Over UDP the same number is another port.
    let udp = "network: {ports: [{host: 8080, guest: 80, protocol: udp}]}";
    let third = take_files(
        &[
            ("i.yaml", &base),
            ("a.yaml", &vm("ann", "debian", udp)),
            ("z.yaml", &vm("zed", "debian", port)),
        ],
        &first.intents,
    );
    assert_eq!(third.intents.vms.len(), 2);
}

#[test]
fn all_egress_policies_together_have_a_bound() {
    at_most(32, "1024", |n, i| format!("10.{n}.{}.0/24", 2 * i));
    at_most(16, "512", |n, i| format!("\"2001:db8:{n}:{}::/64\"", 2 * i));
}

/// So many VMs with 32 such networks each, and one more is refused.
fn at_most(most: u32, bound: &str, network: impl Fn(u32, u32) -> String) {
    let base = image("debian");
    let documents: Vec<(String, String)> = (0..=most)
        .map(|n| {
            let all: Vec<String> = (0..32).map(|i| network(n, i)).collect();
            let spec = format!("network: {{egress: {{allow: [{}]}}}}", all.join(", "));
            (
                format!("v{n:02}.yaml"),
                vm(&format!("v{n:02}"), "debian", &spec),
            )
        })
        .collect();
    let files = |count: usize| -> Vec<(&str, &str)> {
        let vms = documents[..count].iter();
        let vms = vms.map(|(file, text)| (file.as_str(), text.as_str()));
        vms.chain([("i.yaml", base.as_str())]).collect()
    };
    let most = usize::try_from(most).unwrap();
    let full = take_files(&files(most), &Intents::default());
    assert_eq!(full.intents.vms.len(), most);
    let over = take_files(&files(most + 1), &full.intents);
    let last = format!("v{most:02}");
    assert!(why(&over, &last).contains(bound), "{}", why(&over, &last));
    assert_eq!(over.intents.vms.len(), most);
}

#[test]
fn a_full_subnet_refuses_by_name_and_disturbs_nobody() {
    let base = image("debian");
    let (a, b, c) = (
        vm("a", "debian", ""),
        vm("b", "debian", ""),
        vm("c", "debian", ""),
    );
    let files = reading(&[
        ("i.yaml", &base),
        ("a.yaml", &a),
        ("b.yaml", &b),
        ("c.yaml", &c),
    ]);
    let admission = take(&files, &Intents::default(), &rules(2));
    assert_eq!(admission.intents.vms.len(), 2);
    assert!(why(&admission, "c").contains("no free address"));
    let mut tight = rules(100);
    tight.subnet = "10.0.0.0/30".parse().unwrap();
    let admission = take(&files, &Intents::default(), &tight);
    assert_eq!(
        admission.intents.vms.len(),
        1,
        "network, gateway, one guest, broadcast"
    );
}

#[test]
fn a_vanished_name_that_reappears_is_the_same_vm_and_a_deleted_one_waits() {
    let base = image("debian");
    let files = [
        ("i.yaml", base.as_str()),
        ("w.yaml", &vm("web", "debian", "")),
    ];
    let first = take_files(&files, &Intents::default());
    let uid = named(&first, "web").uid;
    let mut going = first.intents.clone();
    let deletion = Deletion {
        timestamp: Timestamp::UNIX_EPOCH,
        explicit: false,
        purge: false,
    };
    going.vms.get_mut(&uid).unwrap().deletion = Some(deletion.clone());
    let back = take_files(&files, &going);
    assert_eq!(named(&back, "web").uid, uid);
    assert_eq!(named(&back, "web").deletion, None);

    going.vms.get_mut(&uid).unwrap().deletion = Some(Deletion {
        explicit: true,
        ..deletion
    });
    let waiting = take_files(&files, &going);
    assert!(named(&waiting, "web").deletion.is_some());
    assert!(why(&waiting, "web").contains("still being deleted"));
}

#[test]
fn a_changed_run_policy_clears_a_stop_and_nothing_else_does() {
    let base = image("debian");
    let first = take_files(
        &[("i.yaml", &base), ("w.yaml", &vm("web", "debian", ""))],
        &Intents::default(),
    );
    let uid = named(&first, "web").uid;
    let mut stopped = first.intents.clone();
    stopped.vms.get_mut(&uid).unwrap().power = PowerOverride::Stopped;
    let more = take_files(
        &[
            ("i.yaml", &base),
            ("w.yaml", &vm("web", "debian", "vcpus: 2")),
        ],
        &stopped,
    );
    assert_eq!(named(&more, "web").power, PowerOverride::Stopped);
    let policy = vm("web", "debian", "vcpus: 2, runPolicy: OnFailure");
    let changed = take_files(&[("i.yaml", &base), ("w.yaml", &policy)], &more.intents);
    assert_eq!(named(&changed, "web").power, PowerOverride::None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Neither what is accepted, with which spec and which address, nor what is
    /// refused: newcomers are taken by kind and name, whatever files they are in.
    #[test]
    fn the_order_of_files_changes_nothing(
        specs in proptest::collection::vec((1u8..5, 1u64..5, 8000u16..8004), 1..8),
        seed in any::<u64>(),
    ) {
        let mut files = vec![("i.yaml".to_owned(), image("debian"))];
        for (n, (vcpus, memory, port)) in specs.iter().enumerate() {
            let spec = format!(
                "vcpus: {vcpus}, memory: {}Mi, network: {{ports: [{{host: {port}, guest: 80}}]}}",
                memory * 128
            );
            files.push((format!("{n}.yaml"), vm(&format!("vm-{n}"), "debian", &spec)));
        }
        let admitted = |files: &[(String, String)]| {
            let files: Vec<_> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let admission = take_files(&files, &Intents::default());
            let vms = admission.intents.vms.values();
            let mut taken: Vec<_> =
                vms.map(|vm| (vm.name().clone(), vm.spec.clone(), vm.allocation.clone())).collect();
            taken.sort_by(|a, b| a.0.cmp(&b.0));
            let refused: Vec<_> = admission.rejected.into_keys().collect();
            (taken, refused)
        };
        let straight = admitted(&files);
        let mut state = seed;
        for i in (1..files.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            files.swap(i, (state >> 33) as usize % (i + 1));
        }
        prop_assert_eq!(straight, admitted(&files));
    }

    #[test]
    fn nothing_is_allocated_twice(count in 1usize..40, drop in proptest::collection::btree_set(0usize..40, 0..20)) {
        let base = image("debian");
        let documents: Vec<_> = (0..count).map(|n| (format!("{n}.yaml"), vm(&format!("vm-{n}"), "debian", ""))).collect();
        let all = |keep: &dyn Fn(usize) -> bool| {
            let mut files = vec![("i.yaml", base.as_str())];
            files.extend(documents.iter().enumerate().filter(|(n, _)| keep(*n)).map(|(_, (a, b))| (a.as_str(), b.as_str())));
            reading(&files)
        };
        let first = take(&all(&|n| !drop.contains(&n)), &Intents::default(), &rules(64));
        let second = take(&all(&|_| true), &first.intents, &rules(64));
        let slots: BTreeSet<_> = second.intents.vms.values().map(|vm| vm.allocation.slot).collect();
        prop_assert_eq!(slots.len(), count);
        for (uid, vm) in &first.intents.vms {
            prop_assert_eq!(&second.intents.vms[uid].allocation, &vm.allocation);
        }
    }
}
