//! The list of operations, one request of each.

use std::collections::BTreeSet;

use banger_protocol::{
    DiskRole, Egress, LoopNumber, PoolSize, Request, Sectors, Slot, Version, VmUid, WarmUps,
};
use uuid::Uuid;

use crate::cidrs;

/// Steps through every operation. A new one doesn't compile until it stands
/// here, and then changes the snapshot below.
fn next(request: Option<&Request>) -> Option<Request> {
    let uid = VmUid::new(Uuid::from_u128(7));
    let slot = Slot::try_from(1).unwrap();
    let role = DiskRole::Cow;
    let device = LoopNumber(3);
    Some(match request {
        None => Request::Hello {
            version: Version { major: 1, minor: 0 },
        },
        Some(Request::Hello { .. }) => Request::Inventory {},
        Some(Request::Inventory {}) => Request::EnsureBridge { ipv6: true },
        Some(Request::EnsureBridge { .. }) => Request::EnsurePool {
            size: PoolSize::try_from(4).unwrap(),
            parallel: WarmUps::try_from(2).unwrap(),
        },
        Some(Request::EnsurePool { .. }) => Request::EnsureTap { uid, slot },
        Some(Request::EnsureTap { .. }) => Request::RemoveTap { uid, slot },
        Some(Request::RemoveTap { .. }) => Request::EnsureLoop { uid, role },
        Some(Request::EnsureLoop { .. }) => Request::RemoveLoop { uid, role, device },
        Some(Request::RemoveLoop { .. }) => Request::EnsureDm {
            uid,
            base: device,
            cow: LoopNumber(4),
            size: Sectors(2048),
        },
        Some(Request::EnsureDm { .. }) => Request::RemoveDm { uid },
        Some(Request::RemoveDm { .. }) => Request::EnsureNat {
            guests: BTreeSet::from([slot]),
            egress: Egress::from_iter([(slot, cidrs(&["10.0.0.0/8", "2001:db8::/32"]))]),
            isolated: true,
            ipv6: true,
        },
        Some(Request::EnsureNat { .. }) => Request::EnsureDns {},
        Some(Request::EnsureDns {}) => Request::EnsureResolver {},
        Some(Request::EnsureResolver {}) => Request::RemoveResolver {},
        Some(Request::RemoveResolver {}) => Request::StartVmm {
            uid,
            slot,
            memory_mib: 512,
            vcpus: 2,
            work_disk: true,
        },
        Some(Request::StartVmm { .. }) => Request::KillVmm { uid },
        Some(Request::KillVmm { .. }) => Request::RemoveVmm { uid },
        Some(Request::RemoveVmm { .. }) => return None,
    })
}

/// One request of every operation.
pub(crate) fn all() -> impl Iterator<Item = Request> {
    std::iter::successors(next(None), |r| next(Some(r)))
}

#[test]
fn every_operation_is_listed() {
    let listed: Vec<&str> = all().map(|request| request.op()).collect();
    assert_eq!(listed, Request::OPERATIONS);
}

#[test]
fn the_operations_are_exactly_these() {
    let lines: Vec<String> = all()
        .map(|r| {
            let json = serde_json::to_string(&r).unwrap();
            assert!(json.contains(&format!(r#""op":"{}""#, r.op())));
            format!("{} {json}", r.descriptors())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r###"
    0 {"op":"hello","version":{"major":1,"minor":0}}
    0 {"op":"inventory"}
    0 {"op":"ensure-bridge","ipv6":true}
    0 {"op":"ensure-pool","size":4,"parallel":2}
    0 {"op":"ensure-tap","uid":"00000000-0000-0000-0000-000000000007","slot":1}
    0 {"op":"remove-tap","uid":"00000000-0000-0000-0000-000000000007","slot":1}
    1 {"op":"ensure-loop","uid":"00000000-0000-0000-0000-000000000007","role":"cow"}
    0 {"op":"remove-loop","uid":"00000000-0000-0000-0000-000000000007","role":"cow","device":3}
    0 {"op":"ensure-dm","uid":"00000000-0000-0000-0000-000000000007","base":3,"cow":4,"size":2048}
    0 {"op":"remove-dm","uid":"00000000-0000-0000-0000-000000000007"}
    0 {"op":"ensure-nat","guests":[1],"egress":[{"slot":1,"allow":["10.0.0.0/8","2001:db8::/32"]}],"isolated":true,"ipv6":true}
    2 {"op":"ensure-dns"}
    0 {"op":"ensure-resolver"}
    0 {"op":"remove-resolver"}
    3 {"op":"start-vmm","uid":"00000000-0000-0000-0000-000000000007","slot":1,"memoryMib":512,"vcpus":2,"workDisk":true}
    0 {"op":"kill-vmm","uid":"00000000-0000-0000-0000-000000000007"}
    0 {"op":"remove-vmm","uid":"00000000-0000-0000-0000-000000000007"}
    "###);
}
