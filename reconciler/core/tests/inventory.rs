//! What the host holds against what is intended; what was adopted.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use banger_core::admit::{Rules, admit_with_trash};
use banger_core::adoption::adoption;
use banger_core::api::status::VmHandles;
use banger_core::config::VmDefaults;
use banger_core::intent::{Applied, ImageDigest, Intents, Started, VmIntent};
use banger_core::inventory::{
    Holdings, InventoryReport, Leftover, Object, Scratch, State, collect, compare,
};
use banger_core::orphans::Orphans;
use banger_core::outcome::{self, Moment};
use banger_core::plan::{Clock, HostStep, Step, plan};
use banger_core::pressure::DiskState;
use banger_core::seam::VmRef;
use banger_core::trash::Shelf;
use banger_protocol::inventory::Probe;
use banger_protocol::{DiskRole, NetworkPolicy, PoolSize, Sectors, VmUid, WarmUps};
use banger_testkit::{Extras, FakeHost, generate, read};
use jiff::Timestamp;

fn digest() -> ImageDigest {
    ImageDigest("ab".repeat(32))
}

fn step(host: &FakeHost, vm: &VmIntent, step: &Step) {
    host.do_vm_step(&VmRef::Intended(Box::new(vm.clone())), step)
        .unwrap();
}

/// A VM that runs, and was recorded as started in this boot.
fn run(host: &FakeHost, n: u16) -> VmIntent {
    let mut vm = generate::vm(n, generate::spec("debian"));
    vm.image = Some(digest());
    host.put_image(digest());
    let size = Sectors(2048);
    let applied = Applied {
        spec: vm.spec.clone(),
        generation: 1,
        image: digest(),
        restart_token: 0,
    };
    for each in [
        Step::MakeRootDisk { size },
        Step::AttachLoop {
            role: DiskRole::Base,
            image: Some(digest()),
        },
        Step::AttachLoop {
            role: DiskRole::Cow,
            image: None,
        },
        Step::EnsureRoot { size },
        Step::EnsureTap,
        Step::StartVmm { image: digest() },
        Step::BootGuest {
            applied: Box::new(applied.clone()),
        },
    ] {
        step(host, &vm, &each);
    }
    vm.applied = Some(applied);
    vm.started = Some(Started {
        boot_id: host.do_observe().boot_id,
        boot_ms: 1,
    });
    vm
}

/// The step that lets exactly these out.
fn nat(guests: &[&VmIntent]) -> HostStep {
    let slots = guests.iter().map(|vm| vm.allocation.slot);
    HostStep::EnsureNat {
        policy: NetworkPolicy {
            guests: slots.collect(),
            ipv6: true,
            ..NetworkPolicy::default()
        },
    }
}

fn host() -> FakeHost {
    let host = FakeHost::new();
    host.do_host_step(&HostStep::EnsureBridge { ipv6: true })
        .unwrap();
    host.do_host_step(&nat(&[])).unwrap();
    host
}

fn intents(vms: &[&VmIntent]) -> Intents {
    Intents {
        vms: vms.iter().map(|vm| (vm.uid, (*vm).clone())).collect(),
        ..Intents::default()
    }
}

fn list(intents: &Intents, holdings: &Holdings) -> InventoryReport {
    compare(intents, &BTreeSet::new(), holdings)
}

fn of(report: &InventoryReport, state: State) -> Vec<Object> {
    let items = report.items.iter().filter(|item| item.state == state);
    items.map(|item| item.object).collect()
}

#[test]
fn the_pool_and_tables_of_others_are_counted_where_they_are_known() {
    let host = host();
    let vm = run(&host, 1);
    host.do_host_step(&HostStep::EnsurePool {
        size: PoolSize::try_from(3).unwrap(),
        parallel: WarmUps::ONE,
    })
    .unwrap();
    let mut holdings = host.do_holdings();
    let inventory = holdings.inventory.as_mut().unwrap();
    inventory.legacy_tables = Some(Probe::Known(vec!["ip filter".into()]));
    let report = list(&intents(&[&vm]), &holdings);
    let pool = report.pool.unwrap();
    assert_eq!(pool.size, Some(3));
    assert_eq!(pool.to_string(), "3 warm, 1 in use, 3 created, 0 failed");
    assert_eq!(report.legacy_tables.unwrap(), ["ip filter"]);

    let inventory = holdings.inventory.as_mut().unwrap();
    inventory.pool = Some(Probe::Unknown("EPERM".into()));
    inventory.legacy_tables = None;
    let report = list(&intents(&[&vm]), &holdings);
    assert_eq!((report.pool, report.legacy_tables), (None, None));
}

#[test]
fn what_runs_as_intended_is_owned() {
    let host = host();
    let (a, b) = (run(&host, 1), run(&host, 2));
    let report = list(&intents(&[&a, &b]), &host.do_holdings());
    assert!(report.is_exact(), "{report:#?}");
    // VMM, tap, two loops, two dm devices, directory; twice.
    assert_eq!(report.count(State::Owned), 14, "{report:#?}");
}

#[test]
fn decoys_are_foreign_and_never_collected() {
    let host = host();
    host.with_extras(|extras| *extras = Extras::decoys());
    let a = run(&host, 1);
    let report = list(&intents(&[&a]), &host.do_holdings());
    assert!(report.is_exact(), "{report:#?}");
    assert_eq!(
        of(&report, State::Foreign),
        [Object::Vmm, Object::Tap, Object::Loop, Object::Dm]
    );
    for known in [intents(&[&a]), Intents::default()] {
        let named = [a.uid].into();
        let collection = collect(&known, &BTreeSet::new(), &host.do_holdings(), &named);
        assert!(collection.orphans.keys().all(|uid| *uid == a.uid));
        assert_eq!(collection.leftovers, []);
    }
}

#[test]
fn a_vm_without_intent_is_unowned_and_collected_from_the_guest_downwards() {
    let host = host();
    let (a, b) = (run(&host, 1), run(&host, 2));
    let known = intents(&[&a]);
    let report = list(&known, &host.do_holdings());
    assert_eq!(report.count(State::Unowned), 7);
    let nobody = BTreeSet::new();
    let collection = collect(&known, &nobody, &host.do_holdings(), &nobody);
    assert!(collection.orphans.is_empty(), "it runs and wasn't named");
    assert_eq!(collection.left.len(), 1);
    let collection = collect(&known, &nobody, &host.do_holdings(), &[b.uid].into());
    let steps = &collection.orphans[&b.uid];
    assert_eq!(
        steps.first(),
        Some(&Step::ShutDownGuest { grace_seconds: 30 })
    );
    assert_eq!(steps.last(), Some(&Step::DropDisks { purge: false }));
    for each in steps {
        // The simulated kernel refuses what is still in use.
        host.do_vm_step(&VmRef::Orphan(b.uid), each).unwrap();
    }
    let report = list(&known, &host.do_holdings());
    assert!(report.is_exact(), "{report:#?}");
    assert_eq!(report.count(State::Owned), 7);
    // A VM that something is being done for is nobody's business.
    let busy = [b.uid].into();
    let c = run(&host, 2);
    assert_eq!(c.uid, b.uid);
    let report = compare(&known, &busy, &host.do_holdings());
    assert_eq!(report.count(State::Changing), 7);
    let collection = collect(&known, &busy, &host.do_holdings(), &[b.uid].into());
    assert!(collection.orphans.is_empty() && collection.left.is_empty());
}

/// What came back from the trash got another address, and the database was lost
/// before that stood in its record. Its old one is another VM's by now.
#[test]
fn with_the_database_lost_a_running_vm_keeps_its_address() {
    let host = host();
    let running = run(&host, 2);
    let mut off = generate::vm(1, generate::spec("debian"));
    off.image = Some(digest());
    off.allocation = running.allocation.clone();
    step(
        &host,
        &off,
        &Step::MakeRootDisk {
            size: Sectors(2048),
        },
    );
    let known = Intents::default();
    let orphans = Orphans::of(&host.do_observe(), &known);
    let rules = Rules {
        subnet: "172.30.0.0/16".parse().unwrap(),
        slots: 100,
        defaults: VmDefaults::default(),
    };
    let image = read::image("debian");
    let vms = ["vm-1", "vm-2"].map(|name| read::vm(name, "debian", ""));
    let files: [(&str, &str); 3] = [("i.yaml", &image), ("1.yaml", &vms[0]), ("2.yaml", &vms[1])];
    let admission = admit_with_trash(
        &read::reading(&files),
        &known,
        &BTreeSet::new(),
        &Shelf::default().beside(orphans),
        &rules,
        &mut || generate::uid(9),
        Timestamp::UNIX_EPOCH,
    );
    let vms = &admission.intents.vms;
    assert_eq!(vms[&running.uid].allocation, running.allocation);
    assert_ne!(vms[&off.uid].allocation, running.allocation);
}

#[test]
fn what_a_running_vm_lacks_is_missing() {
    let host = host();
    let a = run(&host, 1);
    let mut holdings = host.do_holdings();
    let inventory = holdings.inventory.as_mut().unwrap();
    inventory.taps = Probe::Known(vec![]);
    inventory.bridge = Probe::Known(false);
    if let Probe::Known(loops) = &mut inventory.loops {
        loops.retain(|it| it.role == DiskRole::Base);
    }
    let report = list(&intents(&[&a]), &holdings);
    assert_eq!(
        of(&report, State::Missing),
        [Object::Bridge, Object::Tap, Object::Loop]
    );
    let remedy = report.items[1].remedy.as_deref();
    assert_eq!(remedy, Some("banger vm restart vm-1"));
    // After a reboot nothing is missing: nothing was started yet.
    host.reboot();
    let report = list(&intents(&[&a]), &host.do_holdings());
    assert!(!of(&report, State::Missing).contains(&Object::Vmm));
}

#[test]
fn each_section_that_is_unknown_is_told_and_blocks_collection() {
    let host = host();
    let orphan = run(&host, 1);
    host.kill_vmm(orphan.uid);
    let why = || "EPERM".to_owned();
    let breaks: [fn(&mut Holdings, String); 5] = [
        |it, why| it.inventory.as_mut().unwrap().vmms = Probe::Unknown(why),
        |it, why| it.inventory.as_mut().unwrap().taps = Probe::Unknown(why),
        |it, why| it.inventory.as_mut().unwrap().loops = Probe::Unknown(why),
        |it, why| it.inventory.as_mut().unwrap().dms = Probe::Unknown(why),
        |it, why| it.directories = Err(why),
    ];
    let nobody = BTreeSet::new();
    for blind in breaks {
        let mut holdings = host.do_holdings();
        blind(&mut holdings, why());
        let report = list(&Intents::default(), &holdings);
        assert_eq!(report.unknown.len(), 1);
        assert!(!report.is_exact());
        let collection = collect(
            &Intents::default(),
            &nobody,
            &holdings,
            &[orphan.uid].into(),
        );
        assert!(collection.orphans.is_empty());
        assert!(collection.blind.unwrap().contains("EPERM"));
    }
    let seen = collect(&Intents::default(), &nobody, &host.do_holdings(), &nobody);
    assert_eq!(
        seen.orphans.len(),
        1,
        "it doesn't run: it need not be named"
    );
}

#[test]
fn a_scratch_file_that_says_what_is_not_so_is_stale_and_no_more() {
    let host = host();
    let a = run(&host, 1);
    let known = intents(&[&a]);
    let right = VmHandles {
        pid: host
            .do_observe()
            .vm(a.uid)
            .vmm
            .present()
            .map(|it| it.process.pid),
        boot_id: Some(host.do_observe().boot_id),
        tap: Some("bgr1".into()),
        dm_device: Some("/dev/dm-0".into()),
        ..VmHandles::default()
    };
    let wrong = [
        VmHandles {
            pid: Some(9),
            ..right.clone()
        },
        VmHandles {
            boot_id: Some("another".into()),
            ..right.clone()
        },
        VmHandles {
            tap: Some("bgr2".into()),
            ..right.clone()
        },
        VmHandles {
            base_loop: Some("/dev/loop99".into()),
            ..right.clone()
        },
        VmHandles {
            dm_device: Some("/dev/dm-9".into()),
            ..right.clone()
        },
    ];
    let told = |scratch: Scratch| {
        host.with_extras(|extras| extras.scratch = [(a.uid, scratch)].into());
        let nobody = BTreeSet::new();
        let report = list(&known, &host.do_holdings());
        assert!(report.is_exact(), "a hint that is lost costs the hint only");
        let collection = collect(&known, &nobody, &host.do_holdings(), &nobody);
        assert!(collection.orphans.is_empty());
        let stale = report.count(State::Stale) == 1;
        assert_eq!(stale, collection.leftovers == [Leftover::Scratch(a.uid)]);
        stale
    };
    assert!(!told(Scratch::Missing));
    assert!(!told(Scratch::Known(Box::new(right))));
    assert!(told(Scratch::Unreadable("EOF".into())));
    for handles in wrong {
        assert!(told(Scratch::Known(Box::new(handles))));
    }
}

#[test]
fn a_plan_never_touches_what_no_intent_knows() {
    let host = host();
    let orphan = run(&host, 1);
    host.do_host_step(&nat(&[&orphan])).unwrap();
    let clock = clock();
    let nothing = plan(&Intents::default(), &host.do_observe(), clock);
    assert!(nothing.is_empty(), "{nothing:#?}");

    // Another VM goes out, and the orphan's network stays.
    let other = generate::vm(2, generate::spec("debian"));
    let with_other = plan(&intents(&[&other]), &host.do_observe(), clock);
    assert_eq!(with_other.host, [nat(&[&orphan, &other])]);
    assert!(with_other.vms.iter().all(|it| it.uid == other.uid));

    // Once it doesn't run, nothing needs its place in the table.
    host.kill_vmm(orphan.uid);
    let closed = plan(&Intents::default(), &host.do_observe(), clock);
    assert_eq!(closed.host, [nat(&[])]);
    assert!(closed.vms.is_empty());
}

#[test]
fn only_what_is_proved_is_adopted() {
    let host = host();
    let vms: Vec<VmIntent> = (1..=14).map(|n| run(&host, n)).collect();
    let mut known = intents(&vms.iter().collect::<Vec<_>>());
    known.vms.remove(&vms[3].uid);
    let mut observed = host.do_observe();
    // Neither the database nor a record tells of this start.
    known.vms.get_mut(&vms[1].uid).unwrap().started = None;
    observed.vms.get_mut(&vms[1].uid).unwrap().record = None;
    // Of this one only the record tells, and of this one a record of another process.
    known.vms.get_mut(&vms[4].uid).unwrap().started = None;
    known.vms.get_mut(&vms[5].uid).unwrap().started = None;
    let fifth = observed.vms[&vms[4].uid].record.clone();
    observed.vms.get_mut(&vms[5].uid).unwrap().record = fifth;
    let third = observed.vms.get_mut(&vms[2].uid).unwrap();
    third.root = banger_core::observed::Presence::Absent;
    let adoption = adoption(&known, &observed).unwrap();
    assert_eq!(adoption.to_string(), "adopted 10/14 running VMs");
    assert!(adoption.adopted.contains(&vms[0].uid) && adoption.adopted.contains(&vms[4].uid));
    let left: Vec<(VmUid, bool)> = adoption.left.iter().map(|it| (it.uid, it.orphan)).collect();
    assert_eq!(
        left,
        [
            (vms[1].uid, false),
            (vms[2].uid, false),
            (vms[3].uid, true),
            (vms[5].uid, false)
        ]
    );
    host.fail_observations(true);
    let unknown = banger_core::adoption::adoption(&known, &host.do_observe());
    assert_eq!(unknown, None, "what can't be seen isn't counted");
}

/// With memory to spare.
fn clock() -> Clock {
    Clock {
        pool: None,
        boot_ms: 1,
        available_memory: Some(1 << 40),
        disk: DiskState::default(),
        guest_to_guest: true,
        ipv6: true,
    }
}

#[test]
fn nothing_is_made_where_an_unknown_vm_has_the_name_or_the_address() {
    let host = host();
    let orphan = run(&host, 1);
    let clock = clock();
    let mut same_name = generate::vm(2, generate::spec("debian"));
    same_name.metadata = orphan.metadata.clone();
    let mut same_slot = generate::vm(3, generate::spec("debian"));
    same_slot.allocation = orphan.allocation.clone();
    let mut neither = generate::vm(4, generate::spec("debian"));
    for vm in [&mut same_name, &mut same_slot, &mut neither] {
        vm.image = Some(digest());
    }
    for vm in [&same_name, &same_slot] {
        let plan = plan(&intents(&[vm]), &host.do_observe(), clock);
        assert!(plan.vms.is_empty(), "{plan:#?}");
        let told = format!("{:?}", plan.waiting);
        let remedy = format!("banger gc --orphan {}", orphan.uid);
        assert!(
            told.contains("OrphanInTheWay") && told.contains(&remedy),
            "{told}"
        );
    }
    let free = plan(&intents(&[&neither]), &host.do_observe(), clock);
    assert_eq!(free.vms.len(), 1);

    // Dead, it still has the address until its tap is gone, and no name.
    host.kill_vmm(orphan.uid);
    let plan_of = |vm| plan(&intents(&[vm]), &host.do_observe(), clock);
    assert_eq!(plan_of(&same_name).vms.len(), 1);
    let told = format!("{:?}", plan_of(&same_slot).waiting);
    assert!(told.contains("`banger gc`"), "{told}");
    host.do_vm_step(&VmRef::Orphan(orphan.uid), &Step::RemoveTap)
        .unwrap();
    assert_eq!(plan_of(&same_slot).vms.len(), 1);
}

#[test]
fn a_start_that_is_taken_over_is_not_followed_by_what_it_was_confirmed_for() {
    let host = host();
    let ran = run(&host, 1);
    let clock = clock();
    // The database is from before: it would make the disk anew that was just made.
    let mut old = ran.clone();
    let applied = old.applied.as_mut().unwrap();
    applied.spec.root_disk = banger_core::api::Quantity::from_mib(64 << 10);
    let smaller = banger_core::effect::pending(&old, &intents(&[&old]));
    old.confirmations = smaller.iter().filter_map(|it| it.confirmation()).collect();
    assert_eq!(old.confirmations.len(), 1, "{smaller:?}");
    let recorded = plan(&intents(&[&old]), &host.do_observe(), clock);
    let [action] = recorded.vms.as_slice() else {
        panic!("{recorded:#?}");
    };
    let [step @ Step::RecordStart { .. }] = action.steps.as_slice() else {
        panic!("{action:#?}");
    };
    let moment = Moment {
        boot_id: host.do_observe().boot_id,
        boot_ms: 1,
    };
    assert!(outcome::after_step(&mut old, step, &moment));
    assert_eq!(old.applied, ran.applied);
    assert!(old.confirmations.is_empty());
    let left = plan(&intents(&[&old]), &host.do_observe(), clock);
    assert!(left.vms.is_empty(), "{left:#?}");

    // A stop that was broken off: what is to be done at the next start stays.
    let mut stopping = ran.clone();
    stopping.started = None;
    stopping.restart_token = 1;
    assert!(outcome::after_step(&mut stopping, step, &moment));
    let goes_on = plan(&intents(&[&stopping]), &host.do_observe(), clock);
    assert_eq!(goes_on.vms[0].reason, "a restart was asked for");
}
