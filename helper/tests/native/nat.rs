//! The nftables table.

use std::collections::BTreeSet;

use banger_protocol::Request;
use banger_protocol::inventory::Probe;

use crate::bench::{native, run, slot};

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
