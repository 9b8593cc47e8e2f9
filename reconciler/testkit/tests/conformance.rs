//! The conformance suite on the simulated host.

#![allow(clippy::unwrap_used, missing_docs)]

use banger_core::plan::HostStep;
use banger_core::seam::Host;
use banger_protocol::Sectors;
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
