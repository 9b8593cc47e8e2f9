//! The conformance suite on the simulated host.

#![allow(clippy::unwrap_used, missing_docs)]

use banger_core::plan::{HostStep, Step};
use banger_core::seam::{Host, VmRef};
use banger_protocol::{DiskRole, Sectors};
use banger_testkit::conformance::{Bench, Case};
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
            .unwrap_or_else(|differs| panic!("{case:?}: {differs}"));
    }
    assert!(host.is_empty());
    assert!(host.decoys_untouched());
}

/// The suite can fail: a host that can't see is not taken for one that holds
/// nothing.
#[tokio::test]
async fn a_blind_host_does_not_conform() {
    for section in [Section::Taps, Section::Loops, Section::Dms, Section::Files] {
        let host = FakeHost::new();
        let bench = bench(&host).await;
        host.fail_section(section, true);
        for case in [Case::StepsAreSeen, Case::TeardownLeavesNothing] {
            assert!(case.run(&host, &bench).await.is_err(), "{section:?}");
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
