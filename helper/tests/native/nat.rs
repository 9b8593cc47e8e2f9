//! The nftables table.

use std::collections::BTreeSet;

use banger_protocol::Request;
use banger_protocol::inventory::Probe;

use rustix::event::{PollFd, PollFlags, poll};

use crate::bench::{attach, native, run, slot};

const NEEDS: [&str; 1] = ["/usr/sbin/nft"];

fn nat(guests: &[u16]) -> Request {
    Request::EnsureNat {
        guests: guests.iter().map(|&n| slot(n)).collect(),
    }
}

#[test]
fn the_table_holds_exactly_the_guests() {
    native("the_table_holds_exactly_the_guests", &NEEDS, |bench| {
        assert_eq!(bench.inventory().nat, Probe::Known(None));
        run("nft", &["add", "table", "inet", "somebody"]);
        bench.changed(&nat(&[]), &[]);
        bench.unchanged(&nat(&[]), &[]);
        assert_eq!(bench.inventory().nat, Probe::Known(Some(BTreeSet::new())));
        bench.changed(&nat(&[1, 2, 3]), &[]);
        bench.unchanged(&nat(&[3, 2, 1]), &[]);
        let table = run("nft", &["list", "table", "inet", "banger"]);
        for address in ["10.213.0.2", "10.213.0.3", "10.213.0.4"] {
            assert!(table.contains(address), "{table}");
        }
        let known = BTreeSet::from([slot(1), slot(2), slot(3)]);
        assert_eq!(bench.inventory().nat, Probe::Known(Some(known)));

        bench.changed(&nat(&[2]), &[]);
        let table = run("nft", &["list", "table", "inet", "banger"]);
        assert!(
            table.contains("10.213.0.3") && !table.contains("10.213.0.2,"),
            "{table}"
        );
        assert!(run("nft", &["list", "tables"]).contains("table inet somebody"));
    });
}

#[test]
fn a_table_that_was_changed_is_replaced() {
    native("a_table_that_was_changed_is_replaced", &NEEDS, |bench| {
        bench.changed(&nat(&[1]), &[]);
        run("nft", &["flush", "chain", "inet", "banger", "forward"]);
        assert_eq!(bench.inventory().nat, Probe::Known(None));
        bench.changed(&nat(&[1]), &[]);
        bench.unchanged(&nat(&[1]), &[]);
    });
}

#[test]
fn forwarding_is_on_once_a_guest_needs_it() {
    native("forwarding_is_on_once_a_guest_needs_it", &NEEDS, |bench| {
        let forward = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        bench.changed(&nat(&[]), &[]);
        assert_eq!(forward().trim(), "0");
        bench.changed(&nat(&[1]), &[]);
        assert_eq!(forward().trim(), "1");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        bench.changed(&nat(&[1]), &[]);
        assert_eq!(forward().trim(), "1");
    });
}

#[test]
fn a_guest_beyond_the_slots_is_refused() {
    native("a_guest_beyond_the_slots_is_refused", &NEEDS, |bench| {
        assert_eq!(bench.error(&nat(&[1, 101]), &[]).step, "slot");
        assert_eq!(bench.inventory().nat, Probe::Known(None));
    });
}

/// An Ethernet frame that asks who has the gateway's address.
fn arp(mac: [u8; 6], from: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0; 10]; // struct virtio_net_hdr: nothing to offload
    frame.extend([0xff; 6]);
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(from);
    frame.extend([0; 6]);
    frame.extend([10, 213, 0, 1]);
    frame
}

/// The address that the next ARP reply on this tap is for.
fn answered(tap: &mut std::fs::File) -> [u8; 4] {
    use std::io::Read;
    let limit = rustix::time::Timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };
    loop {
        let mut ready = [PollFd::new(&*tap, PollFlags::IN)];
        assert_eq!(
            poll(&mut ready, Some(&limit)),
            Ok(1),
            "no ARP reply within 5 s"
        );
        let mut frame = [0; 2048];
        let length = tap.read(&mut frame).unwrap();
        let frame = &frame[10..length];
        if frame.len() >= 42 && frame[12..14] == [0x08, 0x06] && frame[21] == 2 {
            return frame[38..42].try_into().unwrap();
        }
    }
}

#[test]
fn a_guest_cannot_take_the_address_of_another() {
    use std::io::Write;
    let needs = ["/usr/sbin/nft", "/dev/net/tun"];
    native(
        "a_guest_cannot_take_the_address_of_another",
        &needs,
        |bench| {
            let uid = bench.uid();
            bench.changed(&Request::EnsureBridge {}, &[]);
            bench.changed(&Request::EnsureTap { uid, slot: slot(1) }, &[]);
            let (mac, own, other) = ([2, 0xba, 10, 213, 0, 2], [10, 213, 0, 2], [10, 213, 0, 9]);
            let mut tap = attach("bgr1");
            // Before the table both are believed.
            tap.write_all(&arp(mac, other)).unwrap();
            assert_eq!(answered(&mut tap), other);

            bench.changed(&nat(&[]), &[]);
            tap.write_all(&arp(mac, other)).unwrap();
            tap.write_all(&arp([2, 0xba, 10, 213, 0, 9], other))
                .unwrap();
            tap.write_all(&arp(mac, own)).unwrap();
            assert_eq!(
                answered(&mut tap),
                own,
                "the borrowed address was answered first"
            );
            bench.unchanged(&nat(&[]), &[]);
            run("nft", &["delete", "table", "bridge", "banger"]);
            assert_eq!(bench.inventory().nat, Probe::Known(None));
            bench.changed(&nat(&[]), &[]);
        },
    );
}
