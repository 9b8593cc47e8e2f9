//! IPv6: the bridge's, and what guests reach with it.

use std::net::{Ipv6Addr, UdpSocket};
use std::time::Duration;

use banger_protocol::inventory::{Ipv6, Probe};
use banger_protocol::ula::link_local;
use banger_protocol::{NetworkPolicy, Request, Retry};

use crate::bench::{Bench, native, run, slot};
use crate::frames6::{
    EVERYBODY, EVERYBODYS_MAC, Guest, NEIGHBOUR_ADVERT, NEIGHBOUR_SOLICIT, ROUTER_ADVERT, Seat,
};
use crate::nat;

const NEEDS: [&str; 4] = [
    "/usr/sbin/nft",
    "/dev/net/tun",
    "/sbin/ip",
    "/proc/sys/net/ipv6",
];
/// Beyond the host, on an interface of its own.
const BEYOND: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const ELSEWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const GATEWAYS_MAC: [u8; 6] = [2, 0xba, 10, 213, 0, 1];

fn bridge(ipv6: bool) -> Request {
    Request::EnsureBridge { ipv6 }
}

fn policy(guests: &[u16], egress: &[(u16, &[&str])], isolated: bool) -> NetworkPolicy {
    NetworkPolicy {
        ipv6: true,
        ..nat::policy(guests, egress, isolated)
    }
}

fn far(bench: &Bench) -> Ipv6 {
    match bench.inventory().ipv6 {
        Some(Probe::Known(far)) => far,
        other => panic!("{other:?}"),
    }
}

fn sysctl(path: &str) -> String {
    let path = format!("/proc/sys/net/ipv6/conf/{path}");
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn set_sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{path}"), value).unwrap();
}

#[test]
fn the_bridge_has_ipv6_as_it_is_asked_to() {
    native("the_bridge_has_ipv6_as_it_is_asked_to", &NEEDS, |bench| {
        let own = "fdba:ad5:0:18::1/64";
        let addresses = || run("ip", &["-6", "addr", "show", "dev", "br-test"]);
        assert_eq!(far(bench), Ipv6::Host);
        bench.changed(&bridge(false), &[]);
        assert_eq!(far(bench), Ipv6::Host);
        assert!(!addresses().contains(own));
        bench.changed(&bridge(true), &[]);
        bench.unchanged(&bridge(true), &[]);
        assert_eq!(far(bench), Ipv6::Bridge);
        let text = addresses();
        let line = text.lines().find(|line| line.contains(own)).unwrap();
        assert!(!line.contains("tentative"), "{line}");
        assert_eq!(sysctl("br-test/accept_ra"), "0");
        assert_eq!(sysctl("br-test/autoconf"), "0");

        for change in [
            &["link", "set", "br-test", "down"] as &[_],
            &["addr", "del", own, "dev", "br-test"],
        ] {
            run("ip", change);
            assert_eq!(far(bench), Ipv6::Host, "{change:?}");
            bench.changed(&bridge(true), &[]);
            assert_eq!(far(bench), Ipv6::Bridge, "{change:?}");
        }
        for (key, value) in [("accept_ra", "2"), ("disable_ipv6", "1")] {
            set_sysctl(&format!("br-test/{key}"), value);
            assert_eq!(far(bench), Ipv6::Host, "{key}");
            bench.changed(&bridge(true), &[]);
            assert_eq!(far(bench), Ipv6::Bridge, "{key}");
        }
        bench.changed(&bridge(false), &[]);
        bench.unchanged(&bridge(false), &[]);
        assert!(!addresses().contains(own));
        assert_eq!(bench.inventory().bridge, Probe::Known(true));

        run("ip", &["link", "add", "eth9", "type", "bridge"]);
        run(
            "ip",
            &["addr", "add", "fdba:ad5:0:18::77/64", "dev", "eth9"],
        );
        assert_eq!(bench.error(&bridge(true), &[]).step, "subnet");
    });
}

#[test]
fn a_tap_speaks_no_ipv6_by_itself() {
    native("a_tap_speaks_no_ipv6_by_itself", &NEEDS, |bench| {
        bench.changed(&bridge(true), &[]);
        let uid = bench.uid();
        bench.changed(&Request::EnsureTap { uid, slot: slot(1) }, &[]);
        assert_eq!(sysctl("bgr1/disable_ipv6"), "1");
    });
}

#[test]
fn a_host_without_ipv6_is_as_it_ever_was() {
    native("a_host_without_ipv6_is_as_it_ever_was", &NEEDS, |bench| {
        set_sysctl("all/disable_ipv6", "1");
        assert_eq!(far(bench), Ipv6::Off);
        for request in [bridge(true), policy(&[1], &[], false).into()] {
            let error = bench.error(&request, &[]);
            assert_eq!((error.step.as_str(), error.retry), ("IPv6", Retry::Never));
        }
        bench.changed(&bridge(false), &[]);
        bench.unchanged(&bridge(false), &[]);
        bench.changed(&nat::nat(&[1]), &[]);
        bench.unchanged(&nat::nat(&[1]), &[]);
        let uid = bench.uid();
        bench.changed(&Request::EnsureTap { uid, slot: slot(1) }, &[]);
    });
}

#[test]
fn a_policy_of_ipv6_is_read_back_as_it_was_written() {
    native(
        "a_policy_of_ipv6_is_read_back_as_it_was_written",
        &NEEDS,
        |bench| {
            for wanted in [
                policy(&[1], &[], false),
                nat::policy(&[1], &[], false),
                policy(&[1], &[(1, &[])], false),
                policy(
                    &[1, 2],
                    &[
                        (1, &["10.0.0.0/8", "2001:db8::/32", "2606:4700::1111/128"]),
                        (3, &["fc00::/7"]),
                    ],
                    false,
                ),
                policy(
                    &[1, 2],
                    &[(1, &["::/0"]), (2, &["8000::/1", "0.0.0.0/0"])],
                    true,
                ),
                nat::policy(&[1, 2], &[(1, &["10.0.0.0/8"])], true),
                policy(&[], &[], true),
                policy(&[], &[], false),
            ] {
                bench.changed(&wanted.clone().into(), &[]);
                assert_eq!(nat::seen(bench), Some(wanted.clone()));
                bench.unchanged(&wanted.into(), &[]);
            }
            let without = nat::policy(&[1], &[(1, &["::/0"])], false);
            assert_eq!(bench.error(&without.into(), &[]).step, "egress");
        },
    );
}

#[test]
fn a_table_of_ipv6_that_was_changed_is_replaced() {
    native(
        "a_table_of_ipv6_that_was_changed_is_replaced",
        &NEEDS,
        |bench| {
            let wanted = policy(&[1], &[(1, &["2001:db8::/32"])], false);
            let request = Request::from(wanted.clone());
            bench.changed(&request, &[]);
            for line in [
                "flush chain inet banger postrouting",
                "flush chain bridge banger crossing",
                "flush chain bridge banger ports",
                "insert rule bridge banger ports icmpv6 type nd-router-advert accept",
                "add element inet banger guests6 { fdba:ad5:0:18::9 }",
                "add element inet banger egress6 { fdba:ad5:0:18::2 . 2001:db9::/32 }",
                "add element bridge banger egress6 { fdba:ad5:0:18::2 . 2001:db9::/32 }",
                "delete element bridge banger confined6 { fdba:ad5:0:18::2 }",
                "delete element inet banger confined6 { fdba:ad5:0:18::2 }",
                "add set bridge banger other6 { type ipv6_addr; }",
                r#"delete element bridge banger seats6 { "bgr1" . 02:ba:0a:d5:00:02 . fdba:ad5:0:18::2 }"#,
                "flush set bridge banger neighbours6",
            ] {
                run("nft", &[line]);
                assert_ne!(nat::seen(bench), Some(wanted.clone()), "{line}");
                bench.changed(&request, &[]);
                assert_eq!(nat::seen(bench), Some(wanted.clone()), "{line}");
                bench.unchanged(&request, &[]);
            }
        },
    );
}

#[test]
fn forwarding_is_on_once_a_guest_with_ipv6_needs_it() {
    native(
        "forwarding_is_on_once_a_guest_with_ipv6_needs_it",
        &NEEDS,
        |bench| {
            let forward = || sysctl("all/forwarding");
            let out = Request::from(policy(&[1], &[], false));
            run("ip", &["link", "add", "eth9", "type", "bridge"]);
            run("ip", &["link", "add", "eth8", "type", "bridge"]);
            set_sysctl("eth9/accept_ra", "1");
            set_sysctl("eth8/accept_ra", "0");
            bench.changed(&bridge(true), &[]);
            bench.changed(&nat::nat(&[1]), &[]);
            bench.changed(&policy(&[], &[], false).into(), &[]);
            assert_eq!(forward(), "0");
            bench.changed(&out, &[]);
            assert_eq!(forward(), "1");
            // Who learns routes from a router goes on with it.
            assert_eq!(sysctl("eth9/accept_ra"), "2");
            assert_eq!(sysctl("eth8/accept_ra"), "0");
            assert_eq!(sysctl("br-test/accept_ra"), "0");
            set_sysctl("all/forwarding", "0");
            assert_eq!(nat::seen(bench), None, "to be repaired as a rule is");
            bench.changed(&out, &[]);
            assert_eq!(forward(), "1");
            bench.changed(&policy(&[], &[], false).into(), &[]);
            assert_eq!(forward(), "1", "others may rely on it");
        },
    );
}

fn seat(bench: &Bench, n: u16) -> Seat {
    Seat {
        mac: slot(n).mac(bench.install.subnet).unwrap(),
        address: bench.install.ula().guest(slot(n)),
    }
}

/// Guests 1 and 2, and the world beyond the host behind a third tap.
fn guests(bench: &mut Bench) -> (Guest, Guest, Guest) {
    bench.changed(&bridge(true), &[]);
    for n in [1, 2] {
        let uid = bench.uid();
        bench.changed(&Request::EnsureTap { uid, slot: slot(n) }, &[]);
    }
    run("ip", &["tuntap", "add", "world", "mode", "tap"]);
    set_sysctl("world/accept_dad", "0");
    run(
        "ip",
        &["link", "set", "world", "up", "address", "02:00:00:00:00:01"],
    );
    let peer = |address: &str, mac: &str, dev: &str| {
        run("ip", &["neigh", "add", address, "lladdr", mac, "dev", dev]);
    };
    for network in ["2001:db8:", "2001:db8:1:"] {
        let own = format!("{network}:1/64");
        run("ip", &["addr", "add", &own, "dev", "world", "nodad"]);
        peer(&format!("{network}:2"), "02:00:00:00:00:02", "world");
    }
    for n in [2, 3] {
        let mac = format!("02:ba:0a:d5:00:0{n}");
        peer(&format!("fdba:ad5:0:18::{n}"), &mac, "br-test");
    }
    run("ip", &["link", "set", "lo", "up"]);
    let world = Seat {
        mac: [2, 0, 0, 0, 0, 2],
        address: BEYOND,
    };
    (
        Guest::new("bgr1", seat(bench, 1), GATEWAYS_MAC),
        Guest::new("bgr2", seat(bench, 2), GATEWAYS_MAC),
        Guest::new("world", world, [2, 0, 0, 0, 0, 1]),
    )
}

#[test]
fn a_guest_is_behind_the_host_with_ipv6_too() {
    native(
        "a_guest_is_behind_the_host_with_ipv6_too",
        &NEEDS,
        |bench| {
            let (mut one, mut two, mut world) = guests(bench);
            bench.changed(&policy(&[1], &[], false).into(), &[]);
            two.send(BEYOND, 40_001, 8);
            one.send(BEYOND, 40_001, 7);
            let arrived = world.next_to(7);
            let host: Ipv6Addr = "2001:db8::1".parse().unwrap();
            assert_eq!(arrived.source, host, "behind the host");
            world.answer(arrived);
            assert_eq!(one.next_to(40_001).source, BEYOND);
            assert!(world.seen(8).is_none(), "it has no NAT");
            // What others begin doesn't reach it.
            let address = one.seat.address;
            world.send(address, 40_001, 9);
            let (to, from) = (one.seat, two.seat);
            two.send_as(from, to.mac, to.address, 40_001, 10);
            one.next_to(10);
            assert!(one.seen(9).is_none(), "the world reached a guest");
        },
    );
}

#[test]
fn an_egress_policy_holds_for_both_families() {
    native(
        "an_egress_policy_holds_for_both_families",
        &NEEDS,
        |bench| {
            let (mut one, mut two, mut world) = guests(bench);
            let (first, second) = (one.seat, two.seat);
            // Of IPv6 it names nothing: nothing is allowed.
            let ipv4 = policy(&[1, 2], &[(1, &["0.0.0.0/0"])], false);
            bench.changed(&ipv4.into(), &[]);
            one.send(BEYOND, 40_001, 7);
            one.send_as(first, second.mac, second.address, 40_001, 7);
            two.send(BEYOND, 40_001, 8);
            world.next_to(8);
            assert!(world.seen(7).is_none(), "IPv6 leaks around it");

            let confined = policy(&[1, 2], &[(1, &["2001:db8::/64"])], false);
            bench.changed(&confined.into(), &[]);
            one.send(ELSEWHERE, 40_002, 9);
            one.send(BEYOND, 40_002, 10);
            let arrived = world.next_to(10);
            assert!(world.seen(9).is_none(), "beyond its policy");
            world.answer(arrived);
            assert_eq!(one.next_to(40_002).source, BEYOND);
            two.send_as(second, first.mac, first.address, 40_003, 11);
            one.next_to(11);
            // Its neighbours are still found.
            let question = (second.address, second.mac);
            one.tell(
                first,
                question,
                NEIGHBOUR_SOLICIT,
                second.address,
                Some(first.mac),
            );
            two.next_told(NEIGHBOUR_SOLICIT, second.address);
            assert!(two.seen(7).is_none(), "another guest is beyond it, too");

            let among = policy(&[], &[(1, &["fdba:ad5:0:18::3/128"])], false);
            bench.changed(&among.into(), &[]);
            one.send_as(first, second.mac, second.address, 40_004, 12);
            two.next_to(12);
        },
    );
}

#[test]
fn guests_are_apart_with_ipv6_too() {
    native("guests_are_apart_with_ipv6_too", &NEEDS, |bench| {
        let (mut one, mut two, mut world) = guests(bench);
        let (first, second) = (one.seat, two.seat);
        bench.changed(&policy(&[1, 2], &[], true).into(), &[]);
        one.send_as(first, second.mac, second.address, 40_001, 9);
        one.send(second.address, 40_001, 9);
        one.send_as(first, EVERYBODYS_MAC, EVERYBODY, 40_001, 9);
        one.tell(
            first,
            (EVERYBODY, EVERYBODYS_MAC),
            NEIGHBOUR_SOLICIT,
            second.address,
            Some(first.mac),
        );
        one.send(BEYOND, 40_001, 10);
        world.next_to(10);
        bench.changed(&policy(&[1, 2], &[], false).into(), &[]);
        one.send_as(first, second.mac, second.address, 40_001, 11);
        assert!(two.messages_until(11, first.mac).is_empty());
        one.send(second.address, 40_001, 12);
        two.next_to(12);
        assert!(two.seen(9).is_none(), "the other guest was reached");
    });
}

#[test]
fn the_host_shows_guests_its_ping_alone_over_ipv6() {
    native(
        "the_host_shows_guests_its_ping_alone_over_ipv6",
        &NEEDS,
        |bench| {
            let (mut one, _two, _world) = guests(bench);
            let gateway = bench.install.ula().gateway();
            let service = UdpSocket::bind("[::]:4000").unwrap();
            service
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            let sender = || service.recv_from(&mut [0; 64]).unwrap().1.to_string();
            one.send(gateway, 40_001, 4000);
            // Before the table it is reached.
            assert_eq!(sender(), "[fdba:ad5:0:18::2]:40001");
            bench.changed(&policy(&[1, 2], &[(2, &[])], false).into(), &[]);
            one.send(gateway, 40_002, 4000);
            one.send("2001:db8::1".parse().unwrap(), 40_002, 4000);
            one.send_as(one.seat, EVERYBODYS_MAC, EVERYBODY, 40_002, 4000);
            one.ping(gateway);
            one.next_echo();
            service.set_nonblocking(true).unwrap();
            assert!(service.recv_from(&mut [0; 64]).is_err());
        },
    );
}

#[test]
fn a_guest_has_its_own_ipv6_address_alone() {
    native("a_guest_has_its_own_ipv6_address_alone", &NEEDS, |bench| {
        let (mut one, mut two, mut world) = guests(bench);
        let (first, second) = (one.seat, two.seat);
        bench.changed(&policy(&[1, 2], &[], false).into(), &[]);
        let of = |address: Ipv6Addr| Seat { address, ..first };
        let own_link = of(link_local(first.mac));
        for wrong in [
            of(second.address),
            of("2001:db8::9".parse().unwrap()),
            of(Ipv6Addr::UNSPECIFIED),
            own_link,
            second,
            Seat {
                mac: second.mac,
                ..first
            },
        ] {
            one.send_as(wrong, second.mac, second.address, 40_001, 7);
            one.send_as(wrong, GATEWAYS_MAC, BEYOND, 40_001, 7);
        }
        let everybody = (EVERYBODY, EVERYBODYS_MAC);
        let gateway = bench.install.ula().gateway();
        for from in [first, own_link] {
            // It is nobody's router.
            one.tell(from, everybody, ROUTER_ADVERT, gateway, Some(first.mac));
            // It tells of itself, and of nobody else.
            for target in [second.address, gateway] {
                one.tell(from, everybody, NEIGHBOUR_ADVERT, target, Some(first.mac));
                one.tell(from, everybody, NEIGHBOUR_ADVERT, target, None);
            }
            let own = from.address;
            one.tell(from, everybody, NEIGHBOUR_ADVERT, own, Some(second.mac));
            one.tell(
                from,
                everybody,
                NEIGHBOUR_SOLICIT,
                gateway,
                Some(second.mac),
            );
        }
        // Nor behind a header that a filter could stumble over.
        one.options = true;
        for target in [second.address, gateway] {
            one.tell(first, everybody, NEIGHBOUR_ADVERT, target, Some(first.mac));
        }
        one.tell(first, everybody, ROUTER_ADVERT, gateway, Some(first.mac));
        one.options = false;
        // DAD isn't needed, and could keep others from their addresses.
        let nobody = of(Ipv6Addr::UNSPECIFIED);
        one.tell(nobody, everybody, NEIGHBOUR_SOLICIT, second.address, None);
        one.send(BEYOND, 40_001, 8);
        world.next_to(8);
        assert!(world.seen(7).is_none(), "a borrowed address went out");
        one.send_as(first, second.mac, second.address, 40_001, 9);
        assert!(two.messages_until(9, first.mac).is_empty());
        assert!(two.seen(7).is_none(), "a borrowed address reached a guest");

        // And what is right passes.
        for from in [first, own_link] {
            let to = (second.address, second.mac);
            one.tell(from, to, NEIGHBOUR_ADVERT, from.address, Some(first.mac));
            two.next_told(NEIGHBOUR_ADVERT, from.address);
            one.tell(from, to, NEIGHBOUR_ADVERT, from.address, None);
            two.next_told(NEIGHBOUR_ADVERT, from.address);
            one.tell(from, to, NEIGHBOUR_SOLICIT, to.0, Some(first.mac));
            two.next_told(NEIGHBOUR_SOLICIT, to.0);
        }
        // The host itself answers, and asks.
        let host = (gateway, GATEWAYS_MAC);
        one.tell(first, host, NEIGHBOUR_SOLICIT, gateway, Some(first.mac));
        one.next_told(NEIGHBOUR_ADVERT, gateway);
        run(
            "ip",
            &["neigh", "flush", "nud", "permanent", "dev", "br-test"],
        );
        let socket = UdpSocket::bind("[::]:0").unwrap();
        socket.send_to(b"word", (first.address, 40_009)).unwrap();
        one.next_told(NEIGHBOUR_SOLICIT, first.address);
        one.tell(
            first,
            host,
            NEIGHBOUR_ADVERT,
            first.address,
            Some(first.mac),
        );
        one.next_to(40_009);
    });
}
