//! The nftables table.

use std::collections::BTreeSet;

use banger_protocol::inventory::Probe;
use banger_protocol::{Cidrs, NetworkPolicy, Request};

use crate::bench::{Bench, attach, native, run, slot};
use crate::frames::{Guest, answered, arp};

const NEEDS: [&str; 1] = ["/usr/sbin/nft"];

fn policy(guests: &[u16], egress: &[(u16, &[&str])], isolated: bool) -> NetworkPolicy {
    let cidrs = |texts: &[&str]| Cidrs::of(texts.iter().map(|it| it.parse().unwrap())).unwrap();
    let egress = egress.iter().map(|(n, allow)| (slot(*n), cidrs(allow)));
    NetworkPolicy {
        guests: guests.iter().map(|&n| slot(n)).collect(),
        egress: egress.collect(),
        isolated,
    }
}

fn nat(guests: &[u16]) -> Request {
    policy(guests, &[], false).into()
}

fn seen(bench: &Bench) -> Option<NetworkPolicy> {
    match bench.inventory().policy {
        Some(Probe::Known(policy)) => policy,
        other => panic!("{other:?}"),
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
fn a_policy_is_read_back_as_it_was_written() {
    native("a_policy_is_read_back_as_it_was_written", &NEEDS, |bench| {
        let mut before = None;
        for wanted in [
            policy(&[1], &[(1, &[])], false),
            policy(
                &[1, 2],
                &[(1, &["10.0.0.0/8", "192.0.2.7/32"]), (3, &[])],
                false,
            ),
            policy(&[1, 2], &[(1, &["0.0.0.0/0"]), (2, &["128.0.0.0/1"])], true),
            policy(&[], &[], true),
            policy(&[2], &[(2, &["198.51.100.0/24"])], false),
            policy(&[], &[], false),
        ] {
            bench.changed(&wanted.clone().into(), &[]);
            assert_eq!(seen(bench), Some(wanted.clone()));
            bench.unchanged(&wanted.clone().into(), &[]);
            assert_ne!(Some(&wanted), before.as_ref());
            before = Some(wanted);
        }
        let beyond = policy(&[], &[(101, &[])], false);
        assert_eq!(bench.error(&beyond.into(), &[]).step, "slot");
    });
}

#[test]
fn a_table_that_was_changed_is_replaced() {
    native("a_table_that_was_changed_is_replaced", &NEEDS, |bench| {
        let wanted = policy(&[1], &[(1, &["192.0.2.0/24"])], false);
        let request = Request::from(wanted.clone());
        bench.changed(&request, &[]);
        for line in [
            "flush chain inet banger forward",
            "flush chain bridge banger crossing",
            "flush chain bridge banger ports",
            "insert rule inet banger input accept",
            "add rule bridge banger crossing accept",
            "add element inet banger guests { 10.213.0.9 }",
            "add element inet banger egress { 10.213.0.2 . 203.0.113.0/24 }",
            "delete element bridge banger confined { 10.213.0.2 }",
            "add chain inet banger other",
            "add set bridge banger other { type ipv4_addr; }",
            "delete table bridge banger",
            "delete table inet banger",
            "flush ruleset",
        ] {
            run("nft", &[line]);
            assert_ne!(seen(bench), Some(wanted.clone()), "{line}");
            bench.changed(&request, &[]);
            assert_eq!(seen(bench), Some(wanted.clone()), "{line}");
            bench.unchanged(&request, &[]);
        }
        // A rule in the place of another.
        let list = run("nft", &["-a", "list", "chain", "inet", "banger", "input"]);
        let last = list.rsplit("# handle ").next().unwrap();
        let handle = last.split_whitespace().next().unwrap();
        run(
            "nft",
            &[
                "replace", "rule", "inet", "banger", "input", "handle", handle, "accept",
            ],
        );
        assert_eq!(seen(bench), None);
        bench.changed(&request, &[]);
    });
}

#[test]
fn a_firewall_in_the_way_is_told() {
    native("a_firewall_in_the_way_is_told", &NEEDS, |bench| {
        let obstacles = |bench: &Bench| match bench.inventory().obstacles {
            Some(Probe::Known(all)) => all,
            other => panic!("{other:?}"),
        };
        bench.changed(&nat(&[1]), &[]);
        assert_eq!(obstacles(bench), []);
        run("nft", &["add table ip filter"]);
        run(
            "nft",
            &["add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"],
        );
        let told = obstacles(bench);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(
            (told[0].table.as_str(), told[0].chain.as_str()),
            ("ip filter", "FORWARD")
        );
        bench.unchanged(&nat(&[1]), &[]);
        run(
            "nft",
            &["add rule ip filter FORWARD iifname br-test accept"],
        );
        run(
            "nft",
            &["add rule ip filter FORWARD oifname br-test ct state established accept"],
        );
        assert_eq!(obstacles(bench), []);
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
        assert_eq!(seen(bench), None, "to be repaired as a rule is");
        bench.changed(&nat(&[1]), &[]);
        assert_eq!(forward().trim(), "1");
        // Nobody goes out any more: others may rely on it.
        bench.changed(&nat(&[]), &[]);
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
            let others_mac = [2, 0xba, 10, 213, 0, 9];
            let mut tap = attach("bgr1");
            // Before the table both are believed.
            tap.write_all(&arp(mac, mac, other)).unwrap();
            assert_eq!(answered(&mut tap), other);

            bench.changed(&nat(&[]), &[]);
            tap.write_all(&arp(mac, mac, other)).unwrap();
            tap.write_all(&arp(others_mac, others_mac, other)).unwrap();
            tap.write_all(&arp(others_mac, mac, own)).unwrap();
            // Its own frame, that tells of its address at the other's MAC.
            tap.write_all(&arp(mac, others_mac, own)).unwrap();
            tap.write_all(&arp(mac, mac, own)).unwrap();
            assert_eq!(
                answered(&mut tap),
                own,
                "the borrowed address was answered first"
            );
            let neighbour = run("ip", &["neigh", "show", "10.213.0.2"]);
            assert!(neighbour.contains("02:ba:0a:d5:00:02"), "{neighbour}");
            bench.unchanged(&nat(&[]), &[]);
            run("nft", &["delete", "table", "bridge", "banger"]);
            assert_eq!(bench.inventory().nat, Probe::Known(None));
            bench.changed(&nat(&[]), &[]);
        },
    );
}

/// Needs of tests that send packets.
const PACKETS: [&str; 3] = ["/usr/sbin/nft", "/dev/net/tun", "/sbin/ip"];
/// Beyond the host, on an interface of its own.
const BEYOND: [u8; 4] = [198, 51, 100, 2];
const ELSEWHERE: [u8; 4] = [203, 0, 113, 2];

/// Guests 1 and 2, and the world beyond the host behind a third tap.
fn guests(bench: &mut Bench) -> (Guest, Guest, Guest) {
    bench.changed(&Request::EnsureBridge {}, &[]);
    for n in [1, 2] {
        let uid = bench.uid();
        bench.changed(&Request::EnsureTap { uid, slot: slot(n) }, &[]);
    }
    run("ip", &["tuntap", "add", "world", "mode", "tap"]);
    run(
        "ip",
        &["link", "set", "world", "up", "address", "02:00:00:00:00:01"],
    );
    run("ip", &["addr", "add", "198.51.100.1/24", "dev", "world"]);
    run("ip", &["addr", "add", "203.0.113.1/24", "dev", "world"]);
    for address in ["198.51.100.2", "203.0.113.2"] {
        let peer = [
            "neigh",
            "add",
            address,
            "lladdr",
            "02:00:00:00:00:02",
            "dev",
            "world",
        ];
        run("ip", &peer);
    }
    for n in [2, 3] {
        let (address, mac) = (format!("10.213.0.{n}"), format!("02:ba:0a:d5:00:0{n}"));
        run(
            "ip",
            &["neigh", "add", &address, "lladdr", &mac, "dev", "br-test"],
        );
    }
    run("ip", &["link", "set", "lo", "up"]);
    let gateway = [2, 0xba, 10, 213, 0, 1];
    (
        Guest::new("bgr1", [10, 213, 0, 2], gateway),
        Guest::new("bgr2", [10, 213, 0, 3], gateway),
        Guest::new("world", BEYOND, [2, 0, 0, 0, 0, 1]),
    )
}

#[test]
fn a_guest_reaches_what_its_egress_policy_names_and_nothing_else() {
    native(
        "a_guest_reaches_what_its_egress_policy_names_and_nothing_else",
        &PACKETS,
        |bench| {
            let (mut one, mut two, mut world) = guests(bench);
            bench.changed(&nat(&[1, 2]), &[]);
            one.send(BEYOND, 40_001, 7);
            assert_eq!(
                world.next_to(7).source,
                [198, 51, 100, 1],
                "behind the host"
            );
            one.send(ELSEWHERE, 40_001, 8);
            world.next_to(8);

            let confined = policy(&[1, 2], &[(1, &["198.51.100.0/24"])], false);
            bench.changed(&confined.into(), &[]);
            one.send(ELSEWHERE, 40_002, 9);
            one.send([10, 213, 0, 3], 40_002, 9);
            one.send(BEYOND, 40_002, 10);
            let arrived = world.next_to(10);
            assert!(world.seen(9).is_none(), "beyond its policy");
            // The answer comes back.
            world.answer(&arrived);
            assert_eq!(one.next_to(40_002).source, BEYOND);
            // Others aren't concerned.
            two.send(ELSEWHERE, 40_003, 11);
            world.next_to(11);
            two.send([10, 213, 0, 2], 40_003, 12);
            one.next_to(12);
            assert!(
                two.seen(9).is_none(),
                "another guest is beyond its policy, too"
            );

            // A connection that was allowed ends with what allowed it.
            bench.changed(&policy(&[1, 2], &[(1, &[])], false).into(), &[]);
            one.send(BEYOND, 40_002, 10);
            two.send(BEYOND, 40_004, 13);
            world.next_to(13);
            assert!(world.seen(10).is_none(), "nothing is allowed any more");
        },
    );
}

#[test]
fn the_host_shows_guests_its_ping_and_its_dns_alone() {
    use std::net::UdpSocket;
    native(
        "the_host_shows_guests_its_ping_and_its_dns_alone",
        &PACKETS,
        |bench| {
            let (mut one, mut two, _world) = guests(bench);
            let host = |address: &str| {
                let socket = UdpSocket::bind(address).unwrap();
                socket
                    .set_read_timeout(Some(std::time::Duration::from_secs(5)))
                    .unwrap();
                socket
            };
            let (dns, service) = (host("10.213.0.1:53"), host("0.0.0.0:4000"));
            let (other_dns, gateway) = (host("198.51.100.1:53"), [10, 213, 0, 1]);
            // Who sent the next datagram.
            let sender = |socket: &UdpSocket| {
                let (_, from) = socket.recv_from(&mut [0; 64]).unwrap();
                from.to_string()
            };
            let silent = |socket: &UdpSocket| {
                socket.set_nonblocking(true).unwrap();
                socket.recv_from(&mut [0; 64]).is_err()
            };
            bench.changed(&nat(&[1, 2]), &[]);
            for to in [gateway, [198, 51, 100, 1]] {
                one.send(to, 40_001, 4000);
            }
            one.send([198, 51, 100, 1], 40_001, 53);
            // Not bridged but handed up from the tap: the address of LLDP.
            one.send_to_mac([0x01, 0x80, 0xc2, 0, 0, 0x0e], gateway, 40_001, 4000);
            one.send_to_mac([0x01, 0x80, 0xc2, 0, 0, 0x0e], gateway, 40_001, 53);
            one.send(gateway, 40_002, 53);
            assert_eq!(sender(&dns), "10.213.0.2:40002");
            assert!(silent(&service) && silent(&other_dns));
            dns.send_to(b"answer", "10.213.0.2:40002").unwrap();
            assert_eq!(one.next_to(40_002).source, gateway);
            one.ping(gateway);
            one.next_echo();

            // Names can carry anything out: no DNS beyond an egress policy.
            let mut wanted = policy(&[1, 2], &[(1, &["198.51.100.0/24"])], false);
            bench.changed(&wanted.clone().into(), &[]);
            one.send(gateway, 40_003, 53);
            one.send([198, 51, 100, 1], 40_003, 53);
            two.send(gateway, 40_004, 53);
            assert_eq!(sender(&dns), "10.213.0.3:40004");
            wanted.egress = policy(&[], &[(1, &["10.213.0.1/32"])], false).egress;
            bench.changed(&wanted.into(), &[]);
            one.send(gateway, 40_005, 53);
            assert_eq!(sender(&dns), "10.213.0.2:40005");
            assert!(silent(&dns) && silent(&other_dns));
        },
    );
}

#[test]
fn guests_are_apart_or_not() {
    native("guests_are_apart_or_not", &PACKETS, |bench| {
        let (mut one, mut two, mut world) = guests(bench);
        let through_the_host = |guest: &mut Guest, to, port| {
            guest.send_to_mac([2, 0xba, 10, 213, 0, 1], to, 40_001, port);
        };
        let second = [10, 213, 0, 3];
        bench.changed(&nat(&[1, 2]), &[]);
        one.send(second, 40_001, 7);
        two.next_to(7);
        through_the_host(&mut one, second, 8);
        two.next_to(8);

        bench.changed(&policy(&[1, 2], &[], true).into(), &[]);
        one.send(second, 40_001, 9);
        through_the_host(&mut one, second, 9);
        one.send_to_mac([0xff; 6], [10, 213, 0, 255], 40_001, 9);
        // The host and what is beyond it are as near as ever.
        one.send(BEYOND, 40_001, 10);
        world.next_to(10);
        one.ping([10, 213, 0, 1]);
        one.next_echo();
        bench.changed(&nat(&[1, 2]), &[]);
        one.send(second, 40_001, 11);
        two.next_to(11);
        assert!(two.seen(9).is_none(), "the other guest was reached");
    });
}

#[test]
fn what_is_not_ipv4_goes_no_further_than_the_tap() {
    native(
        "what_is_not_ipv4_goes_no_further_than_the_tap",
        &PACKETS,
        |bench| {
            let (mut one, mut two, _world) = guests(bench);
            bench.changed(&nat(&[1, 2]), &[]);
            // An IPv6 packet and a tagged IPv4 packet, both to everybody.
            one.raw([0xff; 6], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 59, 64]);
            one.raw([0xff; 6], &[0x81, 0x00, 0, 1, 0x08, 0x00, 0x45]);
            one.send([10, 213, 0, 3], 40_001, 7);
            let kinds = two.kinds_until(7, [2, 0xba, 10, 213, 0, 2]);
            assert!(
                kinds.iter().all(|kind| [0x0800, 0x0806].contains(kind)),
                "{kinds:x?}"
            );
        },
    );
}
