//! What guests reach: packets that they send at their taps, and where those arrive.

use banger_protocol::Request;

use crate::bench::{Bench, native, run, slot};
use crate::frames::Guest;
use crate::nat::{nat, policy};

/// Needs of tests that send packets.
const PACKETS: [&str; 3] = ["/usr/sbin/nft", "/dev/net/tun", "/sbin/ip"];
/// Beyond the host, on an interface of its own.
const BEYOND: [u8; 4] = [198, 51, 100, 2];
const ELSEWHERE: [u8; 4] = [203, 0, 113, 2];

/// Guests 1 and 2, and the world beyond the host behind a third tap.
fn guests(bench: &mut Bench) -> (Guest, Guest, Guest) {
    bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
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
