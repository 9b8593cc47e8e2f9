//! The conformance suite on the simulated host.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use banger_core::plan::{HostStep, Step};
use banger_core::seam::{Host, VmRef};
use banger_protocol::{DiskRole, Sectors};
use banger_testkit::conformance::{Bench, Case, Part, Rule};
use banger_testkit::{FakeHost, Section, generate};

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
    for part in [Part::Disks, Part::Tap, Part::Vm] {
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
        (Section::Dms, [Part::Vm, Part::Vm]),
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

/// A signal for a VMM that is gone hits whoever has its pid now: whoever plans
/// one is found out.
#[tokio::test]
async fn a_signal_to_a_recycled_pid_hits_a_stranger() {
    let host = FakeHost::new();
    let bench = bench(&host).await;
    let [vm, _] = &bench.vms;
    let here = VmRef::Intended(Box::new(vm.clone()));
    let (size, image) = (bench.size, bench.image.clone());
    let attach = |role, image| Step::AttachLoop { role, image };
    for step in [
        Step::MakeRootDisk { size },
        attach(DiskRole::Base, Some(image.clone())),
        attach(DiskRole::Cow, None),
        Step::EnsureRoot { size },
        Step::EnsureTap,
        Step::StartVmm { image },
    ] {
        host.vm_step(&here, &step).await.unwrap();
    }
    assert!(host.recycle_pid(vm.uid) && host.decoys_untouched());
    host.vm_step(&here, &Step::KillVmm).await.unwrap();
    assert!(!host.decoys_untouched());
}
