//! The nftables table.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd as _;

use banger_protocol::inventory::Probe;
use banger_protocol::{Cidrs, Family, NetworkPolicy, Request, Way};

use nix::libc;

use crate::bench::{Bench, attach, native, run, skipped, slot};
use crate::frames::{answered, arp};

const NEEDS: [&str; 1] = ["/usr/sbin/nft"];

pub(crate) fn policy(guests: &[u16], egress: &[(u16, &[&str])], isolated: bool) -> NetworkPolicy {
    let cidrs = |texts: &[&str]| Cidrs::of(texts.iter().map(|it| it.parse().unwrap())).unwrap();
    let egress = egress.iter().map(|(n, allow)| (slot(*n), cidrs(allow)));
    NetworkPolicy {
        guests: guests.iter().map(|&n| slot(n)).collect(),
        egress: egress.collect(),
        isolated,
        ipv6: false,
    }
}

pub(crate) fn nat(guests: &[u16]) -> Request {
    policy(guests, &[], false).into()
}

pub(crate) fn seen(bench: &Bench) -> Option<NetworkPolicy> {
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
    });
}

/// The handle of a rule of ours, by its comment.
fn handle(family: &str, chain: &str, rule: &str) -> (String, String) {
    let list = run("nft", &["-a", "list", "chain", family, "banger", chain]);
    let ends = format!(": {rule}\" # handle ");
    let line = list.lines().find(|line| line.contains(&ends)).unwrap();
    let (_, comment) = line.split_once("comment ").unwrap();
    let (comment, handle) = comment.split_once(" # handle ").unwrap();
    (handle.to_owned(), comment.to_owned())
}

#[test]
fn a_rule_that_keeps_its_comment_alone_is_replaced() {
    let name = "a_rule_that_keeps_its_comment_alone_is_replaced";
    native(name, &NEEDS, |bench| {
        let wanted = policy(&[1], &[(1, &["192.0.2.0/24"])], false);
        let request = Request::from(wanted.clone());
        bench.changed(&request, &[]);
        for (family, chain, rule, words) in [
            ("inet", "input", "nothing else", "accept"),
            ("inet", "forward", "no way out", "iifname br-test accept"),
            ("inet", "forward", "out", "iifname br-test accept"),
            ("inet", "postrouting", "behind the host", "masquerade"),
            ("bridge", "ports", "nothing else", "accept"),
            ("bridge", "ports", "own address", "ether type ip accept"),
            ("bridge", "crossing", "egress", "ip saddr @confined accept"),
        ] {
            let (handle, comment) = handle(family, chain, rule);
            let line = format!(
                "replace rule {family} banger {chain} handle {handle} {words} comment {comment}"
            );
            run("nft", &[&line]);
            assert_eq!(seen(bench), None, "{line}");
            bench.changed(&request, &[]);
            assert_eq!(seen(bench), Some(wanted.clone()), "{line}");
            bench.unchanged(&request, &[]);
        }
    });
}

#[test]
fn a_seat_that_was_taken_or_given_is_put_right() {
    let name = "a_seat_that_was_taken_or_given_is_put_right";
    native(name, &NEEDS, |bench| {
        let wanted = policy(&[1], &[], false);
        let request = Request::from(wanted.clone());
        bench.changed(&request, &[]);
        let own = r#"{ "bgr1" . 02:ba:0a:d5:00:02 . 10.213.0.2 }"#;
        let others = r#"{ "bgr1" . 02:ba:0a:d5:00:02 . 10.213.0.9 }"#;
        for line in [
            format!("delete element bridge banger seats {own}"),
            format!("add element bridge banger seats {others}"),
            "flush set bridge banger seats".to_owned(),
        ] {
            run("nft", &[&line]);
            assert_eq!(seen(bench), None, "{line}");
            // With the very policy that stood, and with another one.
            bench.changed(&request, &[]);
            assert_eq!(seen(bench), Some(wanted.clone()), "{line}");
            run("nft", &[&line]);
            bench.changed(&nat(&[1, 2]), &[]);
            assert_eq!(seen(bench), Some(policy(&[1, 2], &[], false)), "{line}");
            bench.changed(&request, &[]);
            bench.unchanged(&request, &[]);
        }
        let seats = run("nft", &["get", "element", "bridge", "banger", "seats", own]);
        assert!(seats.contains("bgr1"), "{seats}");
        // Nothing is left of what they are compared with.
        assert!(!run("nft", &["list", "tables"]).contains("reference"));
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

        // The ways to the host and from it, and all of them over IPv6.
        let chains = [
            ("ip", "INPUT", "input"),
            ("ip6", "INPUT", "input"),
            ("ip6", "FORWARD", "forward"),
            ("ip", "OUTPUT", "output"),
            ("ip6", "OUTPUT", "output"),
        ];
        for (family, chain, hook) in chains {
            run("nft", &["add", "table", family, "filter"]);
            let base = format!(
                "add chain {family} filter {chain} {{ type filter hook {hook} priority 0; policy drop; }}"
            );
            run("nft", &[&base]);
        }
        let told = obstacles(bench);
        let mut told: Vec<_> = told.iter().map(|it| (it.way, it.family)).collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                (Way::Out, Family::Ipv6),
                (Way::Back, Family::Ipv6),
                (Way::Host, Family::Ipv4),
                (Way::Host, Family::Ipv6),
                (Way::Guest, Family::Ipv4),
                (Way::Guest, Family::Ipv6)
            ]
        );
        // A daemon that is older than these refuses an answer that has them.
        let spoken = |minor, word: &str| older(bench, minor).contains(word);
        let (ipv6, guest) = (r#""family":"ipv6""#, r#""way":"guest""#);
        assert!(spoken(4, ipv6) && !spoken(3, ipv6));
        assert!(spoken(5, guest) && !spoken(4, guest));
        let rules = [
            "ip filter INPUT iifname br-test udp dport 53",
            "ip6 filter INPUT iifname br-test meta l4proto ipv6-icmp",
            "ip6 filter FORWARD iifname br-test",
            "ip6 filter FORWARD oifname br-test ct state established",
            "ip filter OUTPUT oifname br-test",
            "ip6 filter OUTPUT oifname br-test",
        ];
        for rule in rules {
            run("nft", &[&format!("add rule {rule} accept")]);
        }
        assert_eq!(obstacles(bench), []);
    });
}

/// nft lists nothing of them, whatever they drop.
#[test]
fn tables_of_iptables_legacy_are_told() {
    const NAME: &str = "tables_of_iptables_legacy_are_told";
    native(NAME, &NEEDS, |bench| {
        let tables = |bench: &Bench| bench.inventory().legacy_tables;
        assert_eq!(tables(bench), Some(Probe::Known(Vec::new())));
        for table in ["nat", "filter"] {
            if let Err(e) = legacy_table(table) {
                return skipped(NAME, &format!("no table {table} of iptables-legacy: {e}"));
            }
        }
        let told = Some(Probe::Known(vec!["ip filter".to_owned()]));
        assert_eq!(tables(bench), told);
        assert!(!older(bench, 4).contains("ip filter"));
    });
}

/// Asked for it, the kernel makes a table (`IPT_SO_GET_INFO` of
/// linux/netfilter_ipv4/ip_tables.h), as iptables-legacy does.
fn legacy_table(name: &str) -> std::io::Result<()> {
    const SOL_IP: i32 = 0;
    const IPT_SO_GET_INFO: i32 = 64;
    // `struct ipt_getinfo`: a name of 32 bytes, and 13 numbers.
    let mut info = [0_u8; 32 + 13 * 4];
    info[..name.len()].copy_from_slice(name.as_bytes());
    let mut length = libc::socklen_t::try_from(info.len()).unwrap();
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::RAW,
        Some(rustix::net::ipproto::RAW),
    )?;
    // SAFETY: the kernel writes no more than `length` bytes into `info`.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            SOL_IP,
            IPT_SO_GET_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The inventory, as the helper gives it to a daemon of this minor version.
fn older(bench: &Bench, minor: u16) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(&bench.socket).unwrap();
    let hello = format!(r#"{{"op":"hello","version":{{"major":1,"minor":{minor}}}}}"#);
    for body in [hello.as_str(), r#"{"op":"inventory"}"#] {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        stream.write_all(&length).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
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
            bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
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
