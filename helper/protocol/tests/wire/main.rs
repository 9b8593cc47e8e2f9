//! The wire from outside: the list of operations, and bytes of any kind.
#![allow(clippy::unwrap_used, missing_docs)]

mod corpus;
mod operations;

use std::collections::BTreeSet;

use banger_protocol::frame::{HEADER, MAX_REQUEST, body_length, decode, encode};
use banger_protocol::policy::GuestEgress;
use banger_protocol::{
    Cidrs, DiskRole, Egress, Inventory, LoopNumber, NetworkPolicy, PoolSize, Request, Response,
    Sectors, Slot, Ula, Version, VmUid, WarmUps,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use uuid::Uuid;

fn cidrs(texts: &[&str]) -> Cidrs {
    Cidrs::of(texts.iter().map(|text| text.parse().unwrap())).unwrap()
}

#[test]
fn the_cap_is_kept_on_both_sides() {
    let at = u32::try_from(MAX_REQUEST).unwrap();
    assert_eq!(
        body_length(at.to_be_bytes(), MAX_REQUEST).unwrap(),
        MAX_REQUEST
    );
    assert!(body_length((at + 1).to_be_bytes(), MAX_REQUEST).is_err());
    assert!(encode(&"x".repeat(MAX_REQUEST), MAX_REQUEST).is_err());
    assert!(encode(&"x".repeat(MAX_REQUEST - 2), MAX_REQUEST).is_ok());
}

#[test]
fn what_is_not_exactly_a_request_is_refused() {
    for text in [
        r#"{"op":"ensure-tap","uid":"0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f","slot":0}"#,
        r#"{"op":"ensure-tap","uid":"0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f","slot":65536}"#,
        r#"{"op":"ensure-tap","uid":"0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f"}"#,
        r#"{"op":"ensure-pool","size":65,"parallel":1}"#,
        r#"{"op":"ensure-pool","size":-1,"parallel":1}"#,
        r#"{"op":"ensure-pool","size":64,"parallel":17}"#,
        r#"{"op":"ensure-pool","size":64,"parallel":0}"#,
        r#"{"op":"ensure-pool","size":64}"#,
        r#"{"op":"ensure-nat","guests":[1],"egress":[{"slot":1,"allow":["10.0.0.1/8"]}]}"#,
        r#"{"op":"ensure-nat","guests":[1],"egress":[{"slot":1,"allow":["10.0.0.0/8","10.1.0.0/16"]}]}"#,
        r#"{"op":"ensure-nat","guests":[1],"egress":[{"slot":1,"allow":["11.0.0.0/8","10.0.0.0/8"]}]}"#,
        r#"{"op":"ensure-nat","guests":[1],"egress":[{"slot":1,"allow":["10.0.0.0/8; flush ruleset"]}]}"#,
        r#"{"op":"ensure-nat","guests":[1],"egress":[{"slot":1,"allow":["fd00::1/8"]}]}"#,
        r#"{"op":"ensure-nat","guests":[1],"egress":[{"slot":1,"allow":["fd00::/8","10.0.0.0/8"]}]}"#,
        r#"{"op":"ensure-bridge","ipv6":true,"prefix":"fd00::/64"}"#,
        r#"{"op":"ensure-nat","guests":[1],"egress":[{"slot":1,"allow":[]},{"slot":1,"allow":[]}]}"#,
        r#"{"op":"ensure-nat","guests":[1],"egress":[{"slot":0,"allow":[]}]}"#,
        r#"{"op":"remove-dm","uid":"../../../etc/passwd"}"#,
        r#"{"op":"remove-dm","uid":"0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f","pid":1}"#,
        r#"{"op":"inventory","path":"/etc"}"#,
        r#"{"op":"ensure-dns","address":"0.0.0.0"}"#,
        r#"{"op":"ensure-resolver","domain":"com"}"#,
        r#"{"op":"Inventory"}"#,
        r#"{"op":"inventory"}{"op":"inventory"}"#,
        "[]",
        "",
    ] {
        assert!(decode::<Request>(text.as_bytes()).is_err(), "{text}");
    }
}

fn slot() -> impl Strategy<Value = Slot> {
    (1..=u16::MAX).prop_map(|n| Slot::try_from(n).unwrap())
}

fn uid() -> impl Strategy<Value = VmUid> {
    any::<u128>().prop_map(|n| VmUid::new(Uuid::from_u128(n)))
}

fn role() -> impl Strategy<Value = DiskRole> {
    prop_oneof![
        Just(DiskRole::Base),
        Just(DiskRole::Cow),
        Just(DiskRole::Work)
    ]
}

fn policy() -> impl Strategy<Value = NetworkPolicy> {
    let ipv4 = (any::<u32>(), 0..=32_u8)
        .prop_map(|(bits, prefix)| IpNet::V4(Ipv4Net::new(bits.into(), prefix).unwrap()));
    let ipv6 = (any::<u128>(), 0..=128_u8)
        .prop_map(|(bits, prefix)| IpNet::V6(Ipv6Net::new(bits.into(), prefix).unwrap()));
    let allow = vec(prop_oneof![ipv4, ipv6], 0..8).prop_map(|all| Cidrs::of(all).unwrap());
    let egress = btree_map(slot(), allow, 0..20).prop_map(Egress::from_iter);
    let guests = btree_set(slot(), 0..50);
    (guests, egress, any::<bool>(), any::<bool>()).prop_map(|(guests, egress, isolated, ipv6)| {
        NetworkPolicy {
            guests,
            egress,
            isolated,
            ipv6,
        }
    })
}

fn request() -> impl Strategy<Value = Request> {
    let device = || any::<u32>().prop_map(LoopNumber);
    prop_oneof![
        any::<(u16, u16)>().prop_map(|(major, minor)| Request::Hello {
            version: Version { major, minor }
        }),
        Just(Request::Inventory {}),
        any::<bool>().prop_map(|ipv6| Request::EnsureBridge { ipv6 }),
        (0..=PoolSize::MOST, 1..=WarmUps::MOST).prop_map(|(size, parallel)| {
            Request::EnsurePool {
                size: PoolSize::try_from(size).unwrap(),
                parallel: WarmUps::try_from(parallel).unwrap(),
            }
        }),
        (uid(), slot()).prop_map(|(uid, slot)| Request::EnsureTap { uid, slot }),
        (uid(), slot()).prop_map(|(uid, slot)| Request::RemoveTap { uid, slot }),
        (uid(), role()).prop_map(|(uid, role)| Request::EnsureLoop { uid, role }),
        (uid(), role(), device()).prop_map(|(uid, role, device)| Request::RemoveLoop {
            uid,
            role,
            device
        }),
        (uid(), device(), device(), any::<u64>()).prop_map(|(uid, base, cow, size)| {
            Request::EnsureDm {
                uid,
                base,
                cow,
                size: Sectors(size),
            }
        }),
        uid().prop_map(|uid| Request::RemoveDm { uid }),
        policy().prop_map(Request::from),
        Just(Request::EnsureDns {}),
        Just(Request::EnsureResolver {}),
        Just(Request::RemoveResolver {}),
        (uid(), slot(), any::<u32>(), any::<u8>(), any::<bool>()).prop_map(
            |(uid, slot, memory_mib, vcpus, work_disk)| Request::StartVmm {
                uid,
                slot,
                memory_mib,
                vcpus,
                work_disk,
            }
        ),
        uid().prop_map(|uid| Request::KillVmm { uid }),
        uid().prop_map(|uid| Request::RemoveVmm { uid }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_comes_back_as_it_was(request in request()) {
        let frame = encode(&request, MAX_REQUEST).unwrap();
        let header: [u8; HEADER] = frame[..HEADER].try_into().unwrap();
        prop_assert_eq!(body_length(header, MAX_REQUEST).unwrap(), frame.len() - HEADER);
        prop_assert_eq!(decode::<Request>(&frame[HEADER..]).unwrap(), request);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..512)) {
        let _ = decode::<Request>(&bytes);
        let _ = decode::<Response>(&bytes);
    }

    /// Closer to the real thing: one byte of a good request replaced.
    #[test]
    fn a_damaged_request_never_panics(request in request(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut body = encode(&request, MAX_REQUEST).unwrap().split_off(HEADER);
        let at = at.index(body.len());
        body[at] = byte;
        let _ = decode::<Request>(&body);
    }
}

/// A helper of minor 0 sends no pool, and a daemon of minor 0 refuses one.
#[test]
fn an_inventory_without_a_pool_is_that_of_minor_0() {
    let old = r#"{"bootId":"b","vmms":{"known":[]},"taps":{"known":[]},"loops":{"known":[]},"dms":{"known":[]},"bridge":{"known":true},"nat":{"known":null}}"#;
    let inventory: Inventory = serde_json::from_str(old).unwrap();
    assert_eq!(inventory.pool, None);
    assert_eq!((&inventory.policy, &inventory.obstacles), (&None, &None));
    assert_eq!(inventory.legacy_tables, None);
    assert_eq!(serde_json::to_string(&inventory).unwrap(), old);
}

/// A request without a policy is one of minor 0, which a helper of minor 1 takes.
#[test]
fn a_request_without_a_policy_is_that_of_minor_0() {
    let policy = NetworkPolicy {
        guests: BTreeSet::from([Slot::try_from(1).unwrap()]),
        ..NetworkPolicy::default()
    };
    let text = serde_json::to_string(&Request::from(policy)).unwrap();
    assert_eq!(text, r#"{"op":"ensure-nat","guests":[1]}"#);
}

/// Every guest of a full installation, and the quota on networks.
#[test]
fn the_largest_policy_fits_into_one_request() {
    let slot = |n| Slot::try_from(n).unwrap();
    // The longest texts that networks have, none next to another.
    let network = |n: u32| IpNet::V4(Ipv4Net::new((0xc800_0001 + 2 * n).into(), 32).unwrap());
    let network6 = |n: u32| {
        let bits = u128::MAX - 1 - 2 * u128::from(n);
        IpNet::V6(Ipv6Net::new(bits.into(), 128).unwrap())
    };
    let most6 = u32::try_from(Egress::MOST6).unwrap();
    let of_one = u32::try_from(Egress::MOST / 1024).unwrap();
    let egress = (1..=1024_u16).map(|n| {
        let first = u32::from(n) * of_one;
        let all = (first..first + of_one).map(|it| match it <= most6 {
            true => network6(it),
            false => network(it),
        });
        (slot(n), Cidrs::of(all).unwrap())
    });
    let policy = NetworkPolicy {
        guests: (1..=1024).map(slot).collect(),
        egress: egress.collect(),
        isolated: true,
        ipv6: true,
    };
    let frame = encode(&Request::from(policy.clone()), MAX_REQUEST).unwrap();
    assert_eq!(
        decode::<Request>(&frame[HEADER..]).unwrap(),
        Request::from(policy)
    );

    let all =
        |most: usize| -> Vec<IpNet> { (0..u32::try_from(most).unwrap()).map(network).collect() };
    assert!(Cidrs::of(all(Cidrs::MOST)).is_ok());
    assert!(Cidrs::of(all(Cidrs::MOST + 1)).is_err());
    let of_32 = u32::try_from(Cidrs::MOST).unwrap();
    let full = |n| GuestEgress {
        slot: slot(n),
        allow: Cidrs::of(all(Cidrs::MOST)).unwrap(),
    };
    let most = u16::try_from(Egress::MOST / Cidrs::MOST).unwrap();
    assert!(Egress::try_from((1..=most).map(full).collect::<Vec<_>>()).is_ok());
    assert!(Egress::try_from((1..=most + 1).map(full).collect::<Vec<_>>()).is_err());
    let full6 = |n| GuestEgress {
        slot: slot(n),
        allow: Cidrs::of((0..of_32).map(network6)).unwrap(),
    };
    let most = u16::try_from(Egress::MOST6 / Cidrs::MOST).unwrap();
    assert!(Egress::try_from((1..=most).map(full6).collect::<Vec<_>>()).is_ok());
    assert!(Egress::try_from((1..=most + 1).map(full6).collect::<Vec<_>>()).is_err());
}

#[test]
fn networks_have_one_form() {
    let written = cidrs(&["10.1.0.0/16", "10.0.0.0/9", "192.0.2.1/24", "10.128.0.0/9"]);
    assert_eq!(written, cidrs(&["192.0.2.0/24", "10.0.0.0/8"]));
    let texts: Vec<String> = written.iter().map(|it| it.to_string()).collect();
    assert_eq!(texts, ["10.0.0.0/8", "192.0.2.0/24"]);
    assert_eq!(cidrs(&["1.2.3.4/0"]), cidrs(&["0.0.0.0/0"]));
    let both = cidrs(&["fd00::/9", "::/0", "192.0.2.0/24", "10.0.0.0/8"]);
    let texts: Vec<String> = both.iter().map(|it| it.to_string()).collect();
    assert_eq!(texts, ["10.0.0.0/8", "192.0.2.0/24", "::/0"]);
    assert_eq!((both.len6(), both.ipv4().len()), (1, 2));
}

/// A peer of minor 2 knows nothing of IPv6.
#[test]
fn without_ipv6_a_request_is_that_of_minor_2() {
    let json = |request: &Request| serde_json::to_string(request).unwrap();
    let bridge = Request::EnsureBridge { ipv6: false };
    assert_eq!(json(&bridge), r#"{"op":"ensure-bridge"}"#);
    assert_eq!(decode::<Request>(json(&bridge).as_bytes()).unwrap(), bridge);
    let policy = NetworkPolicy {
        egress: Egress::from_iter([(
            Slot::try_from(1).unwrap(),
            cidrs(&["10.0.0.0/8", "2001:db8::/32"]),
        )]),
        ipv6: true,
        ..NetworkPolicy::default()
    };
    assert_eq!(
        json(&Request::from(policy.without_ipv6())),
        r#"{"op":"ensure-nat","guests":[],"egress":[{"slot":1,"allow":["10.0.0.0/8"]}]}"#
    );
}

#[test]
fn a_prefix_is_a_64_of_unique_local_addresses() {
    for wrong in [
        "2001:db8::/64",
        "fe80::/64",
        "fd00::/48",
        "fd00::/65",
        "fd00::1/64",
        "172.30.0.0/16",
        "fd00::",
        "",
    ] {
        assert!(wrong.parse::<Ula>().is_err(), "{wrong}");
        assert!(serde_json::from_value::<Ula>(wrong.into()).is_err());
    }
    let ula: Ula = "fc12:3456:789a:1::/64".parse().unwrap();
    assert_eq!(serde_json::to_value(ula).unwrap(), "fc12:3456:789a:1::/64");
    let beside = Ula::beside("172.30.0.0/16".parse().unwrap());
    assert_eq!(beside.to_string(), "fdba:ac1e:0:10::/64");
    assert_eq!(beside.gateway().to_string(), "fdba:ac1e:0:10::1");
    let link_local = banger_protocol::ula::link_local([2, 0xba, 10, 213, 0, 2]);
    assert_eq!(link_local.to_string(), "fe80::ba:aff:fed5:2");
}

proptest! {
    #[test]
    fn an_address_is_of_one_slot_alone(slot in slot(), bits: u32, prefix in 0..=29_u8) {
        let subnet = Ipv4Net::new(bits.into(), prefix).unwrap().trunc();
        let ula = Ula::beside(subnet);
        prop_assert_eq!(Ula::try_from(ula.get()), Ok(ula));
        let address = ula.guest(slot);
        prop_assert!(ula.contains(address) && address != ula.gateway());
        prop_assert_eq!(ula.slot(address), Some(slot));
        prop_assert_eq!(ula.slot(ula.gateway()), None);
    }

    #[test]
    fn any_address_of_the_prefix_is_a_slots_or_nobodys(bits: u128) {
        let ula = Ula::beside("10.0.0.0/8".parse().unwrap());
        let address = std::net::Ipv6Addr::from(bits);
        if let Some(slot) = ula.slot(address) {
            prop_assert_eq!(ula.guest(slot), address);
        }
    }
}
