//! What `diff` says, and that it says what is then done.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use banger_core::admit::{Admission, Rules, admit};
use banger_core::api::status::{ConditionStatus, ConditionType, ObjectStatus, Phase};
use banger_core::api::virtual_machine::RunPolicy;
use banger_core::api::{Kind, Quantity};
use banger_core::config::VmDefaults;
use banger_core::diff::{Change, DiffReport, report};
use banger_core::effect::{self, Effect, FieldChange};
use banger_core::intent::{
    Applied, Deletion, ImageDigest, Imported, Intents, PowerOverride, Started, VmIntent,
};
use banger_core::observed::{DiskFile, Guest, Instance, Observed, ObservedVm, Presence, Vmm};
use banger_core::plan::{Clock, Step, Verb, plan};
use banger_core::pressure::{DiskLimits, DiskState, Pressure, Room};
use banger_core::record::VmRecord;
use banger_core::status::{Activity, Paths, View};
use banger_protocol::inventory::{Ipv6, Process};
use banger_protocol::{DiskRole, LoopNumber, NetworkPolicy, Sectors};
use banger_testkit::generate;
use banger_testkit::read::{image, reading, vm};
use jiff::Timestamp;

mod network;
mod pressure;

use pressure::under;

const CLOCK: Clock = Clock {
    boot_ms: 1_000,
    available_memory: Some(1 << 40),
    pool: None,
    disk: ROOMY,
    guest_to_guest: true,
    ipv6: true,
};

const ROOMY: DiskState = DiskState {
    pressure: Pressure::None,
    limits: DiskLimits {
        creates: Quantity::from_mib(2048),
        guests: Quantity::from_mib(512),
        hysteresis: Quantity::from_mib(256),
        ballast: Quantity::from_mib(256),
    },
};

fn take(spec: &str, before: &Intents) -> Admission {
    let rules = Rules {
        subnet: "172.30.0.0/16".parse().unwrap(),
        slots: 100,
        defaults: VmDefaults::default(),
    };
    let mut next = 10;
    let mut mint = || {
        next += 1;
        generate::uid(next)
    };
    // A spec may name another image than the usual one.
    let web = match spec
        .strip_prefix("image: ")
        .or_else(|| spec.strip_prefix("vcpus: 2, image: "))
    {
        Some(other) if spec.starts_with("vcpus") => vm("web", other, "vcpus: 2"),
        Some(other) => vm("web", other, ""),
        None => vm("web", "debian", spec),
    };
    let files = [
        ("i.yaml", image("debian")),
        ("j.yaml", image("alpine")),
        ("w.yaml", web),
    ];
    let files: Vec<_> = files.iter().map(|(a, b)| (*a, b.as_str())).collect();
    admit(
        &reading(&files),
        before,
        &BTreeSet::new(),
        &rules,
        &mut mint,
        Timestamp::UNIX_EPOCH,
    )
}

/// `web` runs with this spec, everything as it should be.
fn running(spec: &str) -> (Intents, Observed) {
    let mut intents = take(spec, &Intents::default()).intents;
    for image in intents.images.values_mut() {
        let digest = ImageDigest(image.name().as_str().repeat(8));
        image.imported = Some(Imported {
            generation: 1,
            digest,
            rootfs: "1Gi".parse().unwrap(),
        });
    }
    let digest = intents
        .image(&generate::name("debian"))
        .unwrap()
        .imported
        .clone()
        .unwrap()
        .digest;
    let vm = intents.vms.values_mut().next().unwrap();
    vm.image = Some(digest.clone());
    vm.started = Some(Started {
        boot_id: "boot".into(),
        boot_ms: 0,
    });
    vm.applied = Some(Applied {
        spec: vm.spec.clone(),
        generation: 1,
        image: digest,
        restart_token: 0,
    });
    let here = ObservedVm {
        vmm: Presence::Present(Vmm {
            process: Process {
                pid: 7,
                start_time: 7,
            },
            instance: Instance::Running,
            executable: Presence::Absent,
        }),
        jail: Presence::Present(()),
        tap: Presence::Present(1),
        base_loop: Presence::Present(LoopNumber(1)),
        cow_loop: Presence::Present(LoopNumber(2)),
        origin: Presence::Present(()),
        root: Presence::Present(banger_core::observed::Root {
            node: "/dev/dm-0".into(),
            size: Sectors::from_bytes(vm.spec.root_disk.bytes()),
            overflow: false,
        }),
        guest: Guest::Ready,
        ports: vm.spec.ports.clone(),
        ..ObservedVm::absent()
    };
    let observed = Observed {
        vms: BTreeMap::from([(vm.uid, here)]),
        bridge: Presence::Present(()),
        ipv6: Presence::Present(Ipv6::Bridge),
        nat: Presence::Present(NetworkPolicy {
            guests: [vm.allocation.slot].into(),
            ipv6: true,
            ..NetworkPolicy::default()
        }),
        obstacles: Presence::Present(Vec::new()),
        room: Presence::Present(Room {
            free: Quantity::from_mib(1 << 20),
            ballast: Quantity::from_mib(256),
        }),
        pool: Presence::Unknown("not looked at".into()),
        images: Presence::Present(
            intents
                .images
                .values()
                .map(|image| image.imported.clone().unwrap().digest)
                .collect(),
        ),
        ..Observed::absent("boot")
    };
    (intents, observed)
}

fn paths() -> Paths {
    Paths {
        state_dir: PathBuf::from("/state"),
        known_hosts: PathBuf::from("/home/known_hosts"),
    }
}

/// Of the first VM, with nothing under way.
fn status(intents: &Intents, observed: &Observed, admission: &Admission) -> ObjectStatus {
    let view = View {
        intents,
        observed,
        plan: &plan(intents, observed, CLOCK),
        activity: &Activity::default(),
        admission,
        held: &BTreeMap::new(),
        previous: &BTreeMap::new(),
        paths: &paths(),
        now: Timestamp::UNIX_EPOCH,
    };
    view.objects(Kind::VirtualMachine).remove(0).status
}

fn preview(from: &str, to: &str) -> DiffReport {
    let (before, observed) = running(from);
    report(&before, &take(to, &before), &observed, CLOCK)
}

#[test]
fn a_settled_vm_shows_nothing() {
    assert!(preview("vcpus: 2", "vcpus: 2").is_empty());
}

#[test]
fn every_effect_is_named_and_says_what_it_waits_for() {
    let cases = [
        ("vcpus: 1", "vcpus: 2", Effect::Restart, Some("--restart")),
        (
            "memory: 512Mi",
            "memory: 1Gi",
            Effect::Restart,
            Some("--restart"),
        ),
        (
            "rootDisk: {size: 2Gi}",
            "rootDisk: {size: 4Gi}",
            Effect::Restart,
            Some("--restart"),
        ),
        (
            "rootDisk: {size: 4Gi}",
            "rootDisk: {size: 2Gi}",
            Effect::ReplaceRoot,
            Some("--replace-root"),
        ),
        (
            "vcpus: 1",
            "image: alpine",
            Effect::ReplaceRoot,
            Some("--replace-root"),
        ),
        (
            "workDisk: {size: 4Gi}",
            "workDisk: {size: 2Gi}",
            Effect::LosesData,
            Some("--allow-data-loss"),
        ),
        (
            "workDisk: {size: 4Gi}",
            "vcpus: 1",
            Effect::LosesData,
            Some("--allow-data-loss"),
        ),
        (
            "network: {nat: true}",
            "network: {nat: false}",
            Effect::Live,
            None,
        ),
        (
            "vcpus: 1",
            "network: {ports: [{host: 8080, guest: 80}]}",
            Effect::Live,
            None,
        ),
        ("vcpus: 1", "updatePolicy: Auto", Effect::Live, None),
    ];
    for (from, to, effect, waits_for) in cases {
        let report = preview(from, to);
        let [entry] = report.entries.as_slice() else {
            panic!("{to}: {report:#?}")
        };
        assert_eq!(
            (entry.change, entry.effect),
            (Change::Modify, effect),
            "{from} -> {to}"
        );
        assert_eq!(entry.waits_for.as_deref(), waits_for, "{from} -> {to}");
        assert!(!entry.fields.is_empty());
        assert_ne!(entry.before, entry.after);
    }
}

/// `web` as it runs, with its root disk's file and the record beside it.
fn recorded() -> (Intents, Observed) {
    let (intents, mut observed) = running("vcpus: 1");
    let vm = intents.vms.values().next().unwrap();
    let here = observed.vms.get_mut(&vm.uid).unwrap();
    here.cow_file = Presence::Present(DiskFile { length: 1 << 30 });
    here.record = Some(VmRecord::renewed(None, vm).into());
    (intents, observed)
}

#[test]
fn a_record_of_another_name_or_power_is_renewed_and_shown_to_nobody() {
    let (intents, observed) = recorded();
    assert!(plan(&intents, &observed, CLOCK).is_empty());
    let changes: [fn(&mut VmIntent); 3] = [
        |vm| vm.metadata.name = generate::name("shop"),
        |vm| vm.spec.run_policy = RunPolicy::OnFailure,
        |vm| vm.power = PowerOverride::Started,
    ];
    for change in changes {
        let mut now = intents.clone();
        change(now.vms.values_mut().next().unwrap());
        let planned = plan(&now, &observed, CLOCK);
        assert_eq!(planned.vms[0].steps, [Step::KeepRecord]);
        // A disk without room has better uses for what is left.
        let full = plan(&now, &observed, under(Pressure::Guests));
        assert_eq!(full.vms[0].verb, Verb::Pause);
    }
    // Lost: it is written anew.
    let mut lost = observed.clone();
    lost.vms.values_mut().for_each(|vm| vm.record = None);
    let planned = plan(&intents, &lost, CLOCK);
    assert_eq!(planned.vms[0].steps, [Step::KeepRecord]);
    let shown = report(&intents, &take("vcpus: 1", &intents), &lost, CLOCK);
    assert!(shown.is_empty(), "{shown:#?}");
    // Without a disk there is nothing to write it beside.
    lost.vms
        .values_mut()
        .for_each(|vm| vm.cow_file = Presence::Absent);
    assert!(plan(&intents, &lost, CLOCK).is_empty());
}

#[test]
fn what_is_stopped_has_that_written_down() {
    let (mut intents, mut observed) = recorded();
    let vm = intents.vms.values_mut().next().unwrap();
    vm.power = PowerOverride::Stopped;
    let uid = vm.uid;
    // Last of all: what can't be written keeps nobody from stopping.
    let planned = plan(&intents, &observed, CLOCK);
    assert_eq!(planned.vms[0].verb, Verb::Stop);
    assert_eq!(planned.vms[0].steps.last(), Some(&Step::KeepRecord));

    // A stop that was cut short right before it is made good.
    let off = ObservedVm {
        cow_file: observed.vms[&uid].cow_file.clone(),
        record: observed.vms[&uid].record.clone(),
        ..ObservedVm::absent()
    };
    observed.vms.insert(uid, off);
    let planned = plan(&intents, &observed, CLOCK);
    assert_eq!(planned.vms[0].steps, [Step::KeepRecord]);
    // Not while there is no room for it.
    let full = plan(&intents, &observed, under(Pressure::Guests));
    assert!(full.vms.is_empty(), "{full:#?}");
}

#[test]
fn what_waits_is_not_planned_and_what_is_live_is() {
    let (before, observed) = running("vcpus: 1");
    let waits = take("vcpus: 2, image: alpine", &before);
    assert!(plan(&waits.intents, &observed, CLOCK).is_empty());
    let live = take("network: {ports: [{host: 8080, guest: 80}]}", &before);
    let planned = plan(&live.intents, &observed, CLOCK);
    assert_eq!(planned.vms[0].verb, Verb::Update);
    let auto = take("vcpus: 2, updatePolicy: Auto", &before);
    assert_eq!(
        plan(&auto.intents, &observed, CLOCK).vms[0].verb,
        Verb::Stop
    );
}

/// VMs that differ only in what is asked of them, and what the host holds of each.
/// Named so that their order by name isn't the order of their verbs.
fn one_of_each(purge: bool) -> (Intents, Intents, Observed) {
    let (mut before, mut observed) = running("vcpus: 1");
    let web = before.vms.pop_first().unwrap().1;
    let here = observed.vms.pop_first().unwrap().1;
    let fallen = ObservedVm {
        vmm: Presence::Absent,
        guest: Guest::Silent,
        ports: Vec::new(),
        ..here.clone()
    };
    for (n, name, here) in [
        (20, "zoe-deleted", here.clone()),
        (21, "yan-fallen", fallen),
        (22, "xia-halted", here),
    ] {
        let mut vm = web.clone();
        vm.uid = generate::uid(n);
        vm.metadata.name = generate::name(name);
        vm.allocation = generate::vm(n, generate::spec("debian")).allocation;
        observed.vms.insert(vm.uid, here);
        before.vms.insert(vm.uid, vm);
    }
    let mut after = before.clone();
    let of = |n| generate::uid(n);
    after.vms.get_mut(&of(20)).unwrap().deletion = Some(Deletion {
        timestamp: Timestamp::UNIX_EPOCH,
        explicit: purge,
        purge,
    });
    after.vms.get_mut(&of(22)).unwrap().spec.run_policy = RunPolicy::Halted;
    let mut new = generate::vm(23, generate::spec("debian"));
    new.metadata.name = generate::name("ann-new");
    new.image.clone_from(&web.image);
    after.vms.insert(new.uid, new);
    (before, after, observed)
}

#[test]
fn removals_come_before_additions_and_say_why() {
    let (_, after, observed) = one_of_each(false);
    let planned = plan(&after, &observed, CLOCK);
    let told = planned.vms.iter().map(|vm| {
        let (verb, effect) = (vm.verb.as_str(), vm.effect.as_str());
        format!("{verb} {}: {} ({effect})", vm.name, vm.reason)
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "teardown zoe-deleted: its document is gone (replace-root)",
            "demote yan-fallen: Firecracker is gone (restart)",
            "stop xia-halted: its run policy is Halted (restart)",
            "create ann-new: it is new (live)",
        ]
    );
    assert_eq!(planned.waiting, []);
}

#[test]
fn a_preview_tells_deletions_repairs_and_what_is_new_apart() {
    let heads = |purge| {
        let (before, after, observed) = one_of_each(purge);
        let mut admission = take("vcpus: 1", &before);
        admission.intents = after;
        let report = report(&before, &admission, &observed, CLOCK);
        for entry in &report.entries {
            assert_eq!(entry.before.is_empty(), entry.change == Change::Create);
            assert_eq!(entry.after.is_empty(), entry.change == Change::Delete);
            assert_eq!(entry.waits_for, None);
        }
        let told = report.entries.iter().map(|entry| {
            let (change, effect) = (entry.change, entry.effect.as_str());
            let fields: Vec<_> = entry.fields.iter().map(|it| it.field.as_str()).collect();
            format!(
                "{change:?} {} {fields:?} {effect}: {}",
                entry.name,
                entry.actions.join("; ")
            )
        });
        told.collect::<Vec<_>>()
    };
    let others = [
        "Create ann-new [] live: create: it is new",
        "Modify xia-halted [\"spec.runPolicy\"] live: stop: its run policy is Halted",
        "Repair yan-fallen [] restart: demote: Firecracker is gone",
    ];
    let gone = |how: &'static str| [&others[..], &[how]].concat();
    assert_eq!(
        heads(false),
        gone("Delete zoe-deleted [] replace-root: teardown: its document is gone")
    );
    assert_eq!(
        heads(true),
        gone("Delete zoe-deleted [] loses-data: teardown: it was deleted")
    );
}

/// Disks that such VMs lack were never there.
fn never_started(intents: &mut Intents) {
    for vm in intents.vms.values_mut() {
        vm.applied = None;
    }
}

#[test]
fn memory_that_isnt_there_is_waited_for() {
    let (mut intents, mut observed) = running("memory: 1Gi");
    never_started(&mut intents);
    observed.vms.clear();
    let clock = Clock {
        available_memory: Some(512 << 20),
        ..CLOCK
    };
    let planned = plan(&intents, &observed, clock);
    assert!(planned.vms.is_empty());
    assert!(format!("{:?}", planned.waiting).contains("InsufficientMemory"));
    // Two that fit one by one and not together: one is made.
    let first = intents.vms.values().next().unwrap().clone();
    let mut second = generate::vm(9, generate::spec("debian"));
    second.spec = first.spec.clone();
    intents.vms.insert(second.uid, second);
    let planned = plan(
        &intents,
        &observed,
        Clock {
            available_memory: Some(1500 << 20),
            ..CLOCK
        },
    );
    assert_eq!(planned.vms.len(), 1);
}

#[test]
fn status_tells_ready_and_what_is_to_come() {
    let (before, observed) = running("vcpus: 1");
    let admission = take("vcpus: 2", &before);
    let planned = plan(&admission.intents, &observed, CLOCK);
    let paths = paths();
    let (held, previous, activity) = (BTreeMap::new(), BTreeMap::new(), Activity::default());
    let view = View {
        intents: &admission.intents,
        observed: &observed,
        plan: &planned,
        activity: &activity,
        admission: &admission,
        held: &held,
        previous: &previous,
        paths: &paths,
        now: Timestamp::UNIX_EPOCH,
    };
    let objects = view.objects(Kind::VirtualMachine);
    let status = &objects[0].status;
    assert_eq!(
        (status.phase, status.observed_generation),
        (Phase::Ready, 2)
    );
    let is = |kind: ConditionType| {
        status
            .conditions
            .iter()
            .find(|condition| condition.kind == kind)
            .map(|found| found.status)
    };
    assert_eq!(is(ConditionType::Accepted), Some(ConditionStatus::True));
    assert_eq!(is(ConditionType::Ready), Some(ConditionStatus::True));
    assert_eq!(
        is(ConditionType::RestartRequired),
        Some(ConditionStatus::True)
    );
    assert_eq!(is(ConditionType::ConfirmationRequired), None);
    // The moment of a transition stays for as long as the status does.
    let earlier = BTreeMap::from([(objects[0].metadata.uid, status.conditions.clone())]);
    let later = View {
        previous: &earlier,
        now: "2030-01-01T00:00:00Z".parse().unwrap(),
        ..view
    };
    let again = later.objects(Kind::VirtualMachine);
    assert_eq!(again[0].status.conditions, status.conditions);
}

#[test]
fn a_silent_guest_with_an_initrd_of_ones_own_is_told_apart() {
    let (mut intents, mut observed) = running("vcpus: 1");
    for vm in observed.vms.values_mut() {
        vm.guest = Guest::Silent;
    }
    let admission = take("vcpus: 1", &intents);
    let ready = |intents: &Intents| {
        let status = status(intents, &observed, &admission);
        assert_eq!(status.phase, Phase::Booting);
        let mut all = status.conditions.into_iter();
        let ready = all.find(|it| it.kind == ConditionType::Ready).unwrap();
        assert_eq!(ready.status, ConditionStatus::False);
        ready.message
    };
    let own = |intents: &mut Intents, name: &str, is_own: bool| {
        let mut images = intents.images.values_mut();
        let image = images.find(|image| image.name().as_str() == name).unwrap();
        image.spec.initrd = is_own.then(|| image.spec.rootfs.disk.clone().unwrap());
    };
    let not_yet = "the guest has not reported yet";
    assert_eq!(ready(&intents), not_yet);
    own(&mut intents, "alpine", true);
    assert_eq!(ready(&intents), not_yet, "it is another image's");
    own(&mut intents, "debian", true);
    assert_eq!(
        ready(&intents),
        format!(
            "{not_yet}; only banger's agent does, and the initrd of image `debian` is one's own"
        )
    );
    // The document names one only since the VM was made.
    for image in intents.images.values_mut() {
        image.generation += 1;
    }
    assert_eq!(ready(&intents), not_yet);
}

#[test]
fn a_new_root_disk_lies_over_the_image_that_is_written_beside_it() {
    let (intents, mut observed) = recorded();
    let mut intents = take("image: alpine", &intents).intents;
    let known = intents.clone();
    let vm = intents.vms.values_mut().next().unwrap();
    let changes = effect::pending(vm, &known);
    vm.confirmations
        .extend(changes.iter().filter_map(FieldChange::confirmation));
    let off = ObservedVm {
        cow_file: observed.vms[&vm.uid].cow_file.clone(),
        record: observed.vms[&vm.uid].record.clone(),
        ..ObservedVm::absent()
    };
    observed.vms.insert(vm.uid, off);
    let planned = plan(&intents, &observed, CLOCK);
    let image = ImageDigest("alpine".repeat(8));
    let steps = [
        Step::TrashDisk {
            role: DiskRole::Cow,
        },
        Step::PinImage { image },
        Step::KeepRecord,
        Step::MakeRootDisk {
            size: Sectors::from_bytes(4 << 30),
        },
    ];
    assert_eq!(planned.vms[0].steps[..4], steps);
}
