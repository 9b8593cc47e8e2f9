//! Everything that bytes of the owner's account reach in the root helper before
//! an operation begins: header, cap, body, request, and the names and numbers
//! of host objects that follow from it.
//!
//! `bytes -> [header -> length -> body -> Request]* -> host objects`
//!
//! An input is what one connection says. Nothing here touches the host.
#![no_main]

use banger_protocol::frame::{HEADER, MAX_REQUEST, body_length, decode, encode};
use banger_protocol::{Cidrs, DiskRole, Egress, Request, Slot, Ula, VmUid};
use ipnet::Ipv4Net;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| connection(bytes));

// Left alone, nearly every change leaves a header that doesn't fit its body.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    if seed % 4 != 0 {
        end_with_the_last_frame(&mut data[..size]);
    }
    size
});

/// Makes the last frame that begins in these bytes end with them.
fn end_with_the_last_frame(mut bytes: &mut [u8]) {
    while bytes.len() >= HEADER {
        let (header, rest) = bytes.split_at_mut(HEADER);
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length >= rest.len() || length == 0 {
            let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            header.copy_from_slice(&length.to_be_bytes());
            return;
        }
        bytes = &mut rest[length..];
    }
}

/// As the helper reads a connection: the first thing that it can't take ends it.
fn connection(mut bytes: &[u8]) {
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
        let Ok(length) = body_length(*header, MAX_REQUEST) else {
            return;
        };
        assert!(length <= MAX_REQUEST);
        let Some((body, rest)) = rest.split_at_checked(length) else {
            return;
        };
        let Ok(request) = decode::<Request>(body) else {
            return;
        };
        well_formed(&request);
        bytes = rest;
    }
}

/// What the helper relies on with every request that it has read.
fn well_formed(request: &Request) {
    assert!(request.descriptors() <= 3, "the helper receives no more");
    let frame = encode(request, MAX_REQUEST).expect("it came in one frame");
    let header = *frame.first_chunk::<HEADER>().expect("a header");
    let length = body_length(header, MAX_REQUEST).expect("a length within the cap");
    assert_eq!(length, frame.len() - HEADER);
    let again: Request = decode(&frame[HEADER..]).expect("what was written is read");
    assert_eq!(&again, request);

    match request {
        Request::EnsureTap { uid, slot }
        | Request::RemoveTap { uid, slot }
        | Request::StartVmm { uid, slot, .. } => {
            identity(*uid);
            host_numbers(*slot);
        }
        Request::EnsureLoop { uid, role } | Request::RemoveLoop { uid, role, .. } => {
            identity(*uid);
            tag(*uid, *role);
        }
        Request::EnsureDm { uid, .. }
        | Request::RemoveDm { uid }
        | Request::KillVmm { uid }
        | Request::RemoveVmm { uid } => identity(*uid),
        Request::EnsureNat { guests, egress, .. } => {
            guests.iter().copied().for_each(host_numbers);
            policy(egress);
        }
        Request::EnsurePool { size, parallel } => {
            assert!(size.get() <= 64 && (1..=16).contains(&parallel.get()));
        }
        Request::Hello { .. }
        | Request::Inventory {}
        | Request::EnsureBridge { .. }
        | Request::EnsureDns {}
        | Request::EnsureResolver {}
        | Request::RemoveResolver {} => {}
    }
}

/// Names that become arguments, paths and units: one form, and nothing in them
/// that a path, a shell, dmsetup(8) or systemd reads otherwise.
fn identity(uid: VmUid) {
    let text = uid.to_string();
    assert_eq!(text.parse::<VmUid>().ok(), Some(uid));
    for name in [
        uid.unit(),
        uid.dm_origin(),
        uid.dm_root(),
        uid.dm_uuid("root"),
    ] {
        assert!(name.contains(&text), "{name}");
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'),
            "{name}"
        );
        // DM_NAME_LEN is 128, DM_UUID_LEN 129 (linux/dm-ioctl.h).
        assert!(name.len() < 128 && !name.contains(".."), "{name}");
    }
}

/// LO_NAME_SIZE is 64 (linux/loop.h), with its closing zero.
fn tag(uid: VmUid, role: DiskRole) {
    assert!(format!("banger/{uid}/{}", role.as_str()).len() < 64);
}

/// Addresses, MAC, tap and CID of a slot, in ordinary subnets and at the edge of
/// all addresses.
fn host_numbers(slot: Slot) {
    assert!(slot.get() >= 1 && slot.cid() >= 3);
    let tap = slot.tap();
    // IFNAMSIZ is 16 (linux/if.h), with its closing zero.
    assert!(tap.len() < 16);
    assert_eq!(Slot::of_tap(&tap), Some(slot));
    for (network, prefix) in [
        ([172, 30, 0, 0], 16),
        ([10, 0, 0, 0], 8),
        ([192, 0, 2, 8], 29),
        ([255, 255, 255, 248], 29),
        ([255, 255, 0, 0], 16),
    ] {
        let subnet = Ipv4Net::new_assert(network.into(), prefix);
        let ula = Ula::beside(subnet);
        assert_eq!(ula.slot(ula.guest(slot)), Some(slot));
        let address = slot.address(subnet);
        assert_eq!(address.is_some(), slot.mac(subnet).is_some());
        let Some(address) = address else { continue };
        assert!(subnet.contains(&address));
        assert!(![subnet.network(), subnet.broadcast()].contains(&address));
        assert_ne!(address, banger_protocol::slot::gateway(subnet));
    }
}

/// What becomes rules of nft(8): bounded, and in its one form.
fn policy(egress: &Egress) {
    let (mut all, mut all6) = (0, 0);
    for (slot, allow) in egress.iter() {
        host_numbers(slot);
        assert!(allow.len() <= Cidrs::MOST);
        assert_eq!(Cidrs::of(allow.iter()).as_ref(), Ok(allow));
        all += allow.len();
        all6 += allow.len6();
    }
    assert!(all <= Egress::MOST && all6 <= Egress::MOST6);
}
