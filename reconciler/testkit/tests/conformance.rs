//! The conformance suite on the simulated host.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use banger_core::plan::{HostStep, Step};
use banger_core::seam::{Host, VmRef};
use banger_protocol::{DiskRole, Sectors, VmUid};
use banger_testkit::conformance::{Bench, Case, Part, Rule};
use banger_testkit::{FakeHost, Fault, Place, Section, When, generate};

async fn bench(host: &FakeHost) -> Bench {
    let imported = host.import(&generate::image(1, "debian"), &|_, _| {}).await;
    let image = imported.unwrap().digest;
    let vms = [1, 2].map(|n| {
        let mut vm = generate::vm(n, generate::spec("debian"));
        vm.image = Some(image.clone());
        vm
    });
    host.host_step(&HostStep::EnsureBridge { ipv6: true })
        .await
        .unwrap();
    Bench {
        image,
        size: Sectors::from_bytes(1 << 30),
        vms,
    }
}

#[tokio::test]
async fn the_simulated_host_conforms() {
    let host = FakeHost::new();
    let bench = bench(&host).await;
    for case in Case::ALL {
        case.run(&host, &bench)
            .await
            .unwrap_or_else(|differs| panic!("{case}: {differs}"));
    }
    assert!(host.is_empty());
    assert!(host.decoys_untouched());
}

#[test]
fn no_case_is_listed_twice_and_every_part_is_torn_down() {
    let all: BTreeSet<Case> = Case::ALL.into();
    assert_eq!(all.len(), Case::ALL.len());
    // The root disk is part of the VM's.
    for part in [Part::Disks, Part::Tap, Part::Vm, Part::Vmm] {
        assert!(all.contains(&Case(Rule::TeardownLeavesNothing, part)));
    }
}

/// The suite can fail: a host that can't see is not taken for one that holds
/// nothing.
#[tokio::test]
async fn a_blind_host_does_not_conform() {
    for (section, parts) in [
        (Section::Taps, [Part::Tap, Part::Vm]),
        (Section::Loops, [Part::Disks, Part::Vm]),
        (Section::Dms, [Part::Vm, Part::Vmm]),
        (Section::Files, [Part::Disks, Part::Vm]),
    ] {
        let host = FakeHost::new();
        let bench = bench(&host).await;
        host.fail_section(section, true);
        for part in parts {
            for rule in [Rule::StepsAreSeen, Rule::TeardownLeavesNothing] {
                let case = Case(rule, part);
                let held = case.run(&host, &bench).await;
                assert!(held.is_err(), "{case} without {section:?}");
            }
        }
    }
}

/// A host with a VM that runs.
async fn running() -> (FakeHost, VmRef, VmUid) {
    let host = FakeHost::new();
    let bench = bench(&host).await;
    let [vm, _] = &bench.vms;
    let here = VmRef::Intended(Box::new(vm.clone()));
    let (size, image) = (bench.size, bench.image.clone());
    let attach = |role, image| Step::AttachLoop { role, image };
    for step in [
        Step::MakeRootDisk { size },
        Step::MakeWorkDisk { size },
        attach(DiskRole::Base, Some(image.clone())),
        attach(DiskRole::Cow, None),
        attach(DiskRole::Work, None),
        Step::EnsureRoot { size },
        Step::EnsureTap,
        Step::StartVmm { image },
    ] {
        host.vm_step(&here, &step).await.unwrap();
    }
    (host, here, vm.uid)
}

/// A step for what is gone hits whoever has its number or name now: whoever
/// plans one is found out.
#[tokio::test]
async fn a_step_for_what_is_gone_hits_a_stranger() {
    let detach = |role| Step::DetachLoop { role };
    for (place, step) in [
        (Place::Process, Step::KillVmm),
        (Place::Process, Step::ShutDownGuest { grace_seconds: 1 }),
        (Place::Loop(DiskRole::Base), detach(DiskRole::Base)),
        (Place::Loop(DiskRole::Cow), detach(DiskRole::Cow)),
        (Place::Loop(DiskRole::Work), detach(DiskRole::Work)),
        (Place::Root, Step::RemoveRoot),
        (Place::Tap, Step::RemoveTap),
    ] {
        let (host, here, uid) = running().await;
        if place != Place::Process {
            assert!(!host.usurp(uid, place), "{place:?} is in use");
            host.kill_vmm(uid);
        }
        if matches!(place, Place::Loop(DiskRole::Base | DiskRole::Cow)) {
            assert!(!host.usurp(uid, place), "{place:?} is in use");
            host.vm_step(&here, &Step::RemoveRoot).await.unwrap();
        }
        assert!(host.usurp(uid, place), "{place:?}");
        assert!(host.decoys_untouched(), "{place:?}");
        host.vm_step(&here, &step).await.unwrap();
        assert!(!host.decoys_untouched(), "{place:?}");
        host.usurpers_leave();
        assert!(!host.decoys_untouched(), "what was done stays done");
    }
}

/// The same where the host was rebooted, and others got the numbers.
#[tokio::test]
async fn numbers_from_before_a_reboot_are_strangers() {
    for step in [
        Step::KillVmm,
        Step::DetachLoop {
            role: DiskRole::Work,
        },
    ] {
        let (host, here, _) = running().await;
        host.reboot();
        assert!(host.decoys_untouched());
        host.vm_step(&here, &step).await.unwrap();
        assert!(!host.decoys_untouched(), "{step:?}");
    }
}

/// Names that somebody else has are refused, not taken.
#[tokio::test]
async fn what_stands_in_a_vms_place_is_left_there() {
    let (host, here, uid) = running().await;
    host.kill_vmm(uid);
    for place in [Place::Root, Place::Tap] {
        assert!(host.usurp(uid, place), "{place:?}");
    }
    let size = Sectors::from_bytes(1 << 30);
    for step in [Step::EnsureRoot { size }, Step::EnsureTap] {
        assert!(host.vm_step(&here, &step).await.is_err(), "{step:?}");
    }
    assert!(host.decoys_untouched());
    host.usurpers_leave();
    for step in [Step::EnsureRoot { size }, Step::EnsureTap] {
        host.vm_step(&here, &step).await.unwrap();
    }
}

/// A step that dies half-way leaves something, and may be repeated.
#[tokio::test]
async fn a_half_done_step_is_seen_and_taken_up() {
    let host = FakeHost::new();
    let bench = bench(&host).await;
    let [vm, _] = &bench.vms;
    let here = VmRef::Intended(Box::new(vm.clone()));
    let (size, image) = (bench.size, bench.image.clone());
    let attach = |role, image| Step::AttachLoop { role, image };
    for step in [
        attach(DiskRole::Base, Some(image.clone())),
        Step::MakeRootDisk { size },
        attach(DiskRole::Cow, None),
    ] {
        host.vm_step(&here, &step).await.unwrap();
    }
    let half = |host: &FakeHost| {
        let call = host.calls();
        let when = When::Half;
        host.add_fault(Fault { call, when });
    };
    half(&host);
    let ensure = Step::EnsureRoot { size };
    assert!(host.vm_step(&here, &ensure).await.is_err());
    let seen = host.holds(vm.uid).unwrap();
    assert!(seen.origin.present().is_some() && seen.root.is_absent());
    host.vm_step(&here, &ensure).await.unwrap();
    half(&host);
    assert!(host.vm_step(&here, &Step::RemoveRoot).await.is_err());
    let seen = host.holds(vm.uid).unwrap();
    assert!(seen.origin.present().is_some() && seen.root.is_absent());
    let larger = Sectors(size.0 * 2);
    let other = Step::EnsureRoot { size: larger };
    assert!(host.vm_step(&here, &other).await.is_err(), "another table");
    host.vm_step(&here, &Step::RemoveRoot).await.unwrap();
    host.vm_step(&here, &other).await.unwrap();
}
