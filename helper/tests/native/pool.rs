//! The tap pool.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use banger_protocol::inventory::{Probe, TapPool};
use banger_protocol::{Handle, PoolSize, Request, Response, Retry, VmUid, WarmUps};

use crate::bench::{Bench, attach, ip_link, native, run, slot};

const NEEDS: [&str; 2] = ["/sbin/ip", "/dev/net/tun"];

pub(crate) fn ensure(size: u8, parallel: u8) -> Request {
    Request::EnsurePool {
        size: PoolSize::try_from(size).unwrap(),
        parallel: WarmUps::try_from(parallel).unwrap(),
    }
}

pub(crate) fn claim(uid: VmUid, n: u16) -> Request {
    Request::EnsureTap { uid, slot: slot(n) }
}

pub(crate) fn release(uid: VmUid, n: u16) -> Request {
    Request::RemoveTap { uid, slot: slot(n) }
}

pub(crate) fn index(handle: Handle) -> u32 {
    match handle {
        Handle::Tap(index) => index,
        other => panic!("{other:?}"),
    }
}

fn pool(bench: &Bench) -> TapPool {
    match bench.inventory().pool {
        Some(Probe::Known(pool)) => pool,
        other => panic!("{other:?}"),
    }
}

/// Warm, unfinished, in use.
fn counts(bench: &Bench) -> (u32, u32, u32) {
    let pool = pool(bench);
    (pool.warm, pool.unfinished, pool.in_use)
}

fn names() -> BTreeSet<String> {
    let text = run("ip", &["-j", "link", "show"]);
    let links: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let name = |link: &serde_json::Value| link["ifname"].as_str().unwrap().to_owned();
    links.iter().map(name).collect()
}

#[test]
fn a_warm_tap_goes_to_a_vm_and_comes_back_clean() {
    let name = "a_warm_tap_goes_to_a_vm_and_comes_back_clean";
    native(name, &NEEDS, |bench| {
        let error = bench.error(&ensure(2, 2), &[]);
        assert_eq!((error.step.as_str(), error.retry), ("bridge", Retry::Later));
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        bench.changed(&ensure(2, 2), &[]);
        bench.unchanged(&ensure(2, 2), &[]);
        let warm = ip_link("tap-pool-1");
        assert_eq!(
            (&warm["ifalias"], &warm["master"]),
            (&"pool".into(), &"br-test".into())
        );
        assert_eq!(warm["linkinfo"]["info_data"]["user"], "root", "{warm}");
        assert_eq!(warm["operstate"], "DOWN");
        let inventory = bench.inventory();
        assert_eq!(
            inventory.taps,
            Probe::Known(vec![]),
            "no VM's, and no stranger's"
        );

        let uid = bench.uid();
        let handle = bench.changed(&claim(uid, 7), &[]);
        assert_eq!(u64::from(index(handle.clone())), warm["ifindex"]);
        assert_eq!(bench.unchanged(&claim(uid, 7), &[]), handle);
        let link = ip_link("bgr7");
        assert_eq!(
            (&link["ifalias"], &link["master"]),
            (&uid.to_string().into(), &"br-test".into())
        );
        assert_eq!(link["linkinfo"]["info_data"]["user"], 50_007, "{link}");
        assert!(link["flags"].as_array().unwrap().contains(&"UP".into()));
        assert_eq!(counts(bench), (1, 0, 1));

        // Whatever a VMM, or anybody, has set on it.
        run("ip", &["address", "add", "10.99.0.1/24", "dev", "bgr7"]);
        run(
            "ip",
            &["link", "set", "bgr7", "address", "02:ba:0a:d5:00:63"],
        );
        run(
            "ip",
            &[
                "link",
                "set",
                "bgr7",
                "type",
                "bridge_slave",
                "isolated",
                "on",
            ],
        );
        // The pool is filled up before the VM ends.
        bench.changed(&ensure(2, 2), &[]);
        assert_eq!(counts(bench), (2, 0, 1));
        bench.changed(&release(uid, 7), &[]);
        bench.unchanged(&release(uid, 7), &[]);
        let back = ip_link("tap-pool-3");
        assert_eq!(back["ifindex"], warm["ifindex"], "kept, not made anew");
        assert_ne!(back["address"], "02:ba:0a:d5:00:63");
        assert_eq!(
            back["linkinfo"]["info_slave_data"]["isolated"], false,
            "{back}"
        );
        assert_eq!(back["linkinfo"]["info_data"], warm["linkinfo"]["info_data"]);
        assert!(!run("ip", &["address", "show", "dev", "tap-pool-3"]).contains("10.99"));
        assert_eq!(counts(bench), (3, 0, 0));
        bench.unchanged(&ensure(2, 2), &[]);
        let pool = pool(bench);
        assert_eq!((pool.created, pool.failed), (3, 0));
        // And it can be had again, by another VM.
        let other = bench.uid();
        bench.changed(&claim(other, 8), &[]);
        drop(attach("bgr8"));
    });
}

#[test]
fn a_pool_that_is_full_keeps_no_more() {
    native("a_pool_that_is_full_keeps_no_more", &NEEDS, |bench| {
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        let (uid, other) = (bench.uid(), bench.uid());
        bench.changed(&claim(uid, 1), &[]);
        bench.changed(&claim(other, 2), &[]);
        bench.changed(&ensure(1, 1), &[]);
        bench.changed(&release(uid, 1), &[]);
        assert_eq!(counts(bench), (2, 0, 1), "one more than the size is kept");
        bench.changed(&release(other, 2), &[]);
        assert_eq!(counts(bench), (2, 0, 0));
        assert!(!names().contains("bgr2"));
        // Without a size it is as it was before there was a pool.
        bench.changed(&ensure(0, 1), &[]);
        bench.changed(&claim(uid, 1), &[]);
        bench.changed(&release(uid, 1), &[]);
        assert_eq!(
            names(),
            BTreeSet::from(["lo", "br-test", "bgr-carrier"].map(String::from))
        );
    });
}

#[test]
fn a_stranger_under_our_name_stays_and_its_number_is_skipped() {
    let name = "a_stranger_under_our_name_stays_and_its_number_is_skipped";
    native(name, &NEEDS, |bench| {
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        run("ip", &["tuntap", "add", "tap-pool-1", "mode", "tap"]);
        // Our alias does not make it ours on another's bridge.
        run("ip", &["link", "add", "br-other", "type", "bridge"]);
        run(
            "ip",
            &["tuntap", "add", "tap-pool-3", "mode", "tap", "user", "0"],
        );
        run(
            "ip",
            &[
                "link",
                "set",
                "tap-pool-3",
                "alias",
                "pool",
                "master",
                "br-other",
            ],
        );
        let strangers = || ["tap-pool-1", "tap-pool-3"].map(ip_link);
        let before = strangers();
        bench.changed(&ensure(3, 2), &[]);
        let pool: Vec<String> = names()
            .into_iter()
            .filter(|n| n.starts_with("tap-pool"))
            .collect();
        assert_eq!(
            pool,
            [
                "tap-pool-1",
                "tap-pool-2",
                "tap-pool-3",
                "tap-pool-4",
                "tap-pool-5"
            ]
        );
        let uids: Vec<VmUid> = (0..4).map(|_| bench.uid()).collect();
        for (n, uid) in (1..).zip(&uids) {
            bench.changed(&claim(*uid, n), &[]);
        }
        for (n, uid) in (1..).zip(&uids) {
            bench.changed(&release(*uid, n), &[]);
        }
        bench.changed(&ensure(0, 1), &[]);
        assert_eq!(strangers(), before);
        assert_eq!(counts(bench), (0, 0, 0));
    });
}

#[test]
fn what_a_crash_leaves_is_never_handed_out_and_repaired() {
    let name = "what_a_crash_leaves_is_never_handed_out_and_repaired";
    native(name, &NEEDS, |bench| {
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        let uid = bench.uid();
        let tap = |name: &str, alias: &str, user: &str| {
            run(
                "ip",
                &[
                    "tuntap", "add", name, "mode", "tap", "vnet_hdr", "user", user,
                ],
            );
            run("ip", &["link", "set", name, "alias", alias]);
            run("ip", &["link", "set", name, "master", "br-test"]);
        };
        // A claim: given away and not renamed; renamed and not aliased.
        tap("tap-pool-1", "pool", "50001");
        tap("bgr2", "pool", "50002");
        // A release: renamed, and its alias still a VM's.
        tap("tap-pool-3", &uid.to_string(), "0");
        // The bridge went and came back.
        tap("tap-pool-4", "pool", "0");
        run("ip", &["link", "set", "tap-pool-4", "nomaster"]);
        // And a good one, from a former helper.
        tap("tap-pool-5", "pool", "0");
        assert_eq!(counts(bench), (1, 4, 0));

        // The slot of one of them is asked for: the claim goes on.
        let other = bench.uid();
        bench.changed(&claim(other, 2), &[]);
        assert_eq!(ip_link("bgr2")["ifalias"], other.to_string());
        assert_eq!(counts(bench), (1, 3, 1));
        // The good one is found, and is the only one to be handed out.
        let third = bench.uid();
        let good = ip_link("tap-pool-5")["ifindex"].as_u64();
        let handle = bench.changed(&claim(third, 3), &[]);
        assert_eq!(Some(u64::from(index(handle))), good);
        assert_eq!(counts(bench), (0, 3, 2));

        // A release that ended after the tap was taken from its VMM.
        run("ip", &["link", "set", "bgr3", "down"]);
        let tap = banger_helper::tun::Tap::attach("bgr3").unwrap();
        tap.give(0).unwrap();
        drop(tap);
        bench.changed(&claim(third, 3), &[]);
        assert_eq!(ip_link("bgr3")["linkinfo"]["info_data"]["user"], 50_003);

        bench.changed(&ensure(3, 2), &[]);
        assert_eq!(counts(bench), (3, 0, 2));
        bench.unchanged(&ensure(3, 2), &[]);
        assert_eq!(pool(bench).created, 0, "all three were repaired");
    });
}

#[test]
fn a_leftover_that_somebody_has_open_stays_until_it_is_let_go() {
    let name = "a_leftover_that_somebody_has_open_stays_until_it_is_let_go";
    native(name, &NEEDS, |bench| {
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        bench.changed(&ensure(1, 1), &[]);
        let uid = bench.uid();
        bench.changed(&claim(uid, 1), &[]);
        run("ip", &["link", "set", "bgr1", "alias", "pool"]);
        let open = attach("bgr1");
        bench.changed(&ensure(2, 1), &[]);
        assert_eq!(counts(bench), (2, 1, 0));
        drop(open);
        bench.changed(&ensure(3, 1), &[]);
        assert_eq!(counts(bench), (3, 0, 0));
    });
}

#[test]
fn no_tap_is_handed_out_twice() {
    native("no_tap_is_handed_out_twice", &NEEDS, |bench| {
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        bench.changed(&ensure(16, 16), &[]);
        let uids: Vec<VmUid> = (0..32).map(|_| bench.uid()).collect();
        let bench = Arc::new(&*bench);
        for _ in 0..3 {
            let taps: Vec<u32> = thread::scope(|scope| {
                // Refills come in between.
                let refill = scope.spawn(|| drop(bench.call(&ensure(16, 4), &[])));
                let claims: Vec<_> = (1..)
                    .zip(&uids)
                    .map(|(n, uid)| {
                        let bench = Arc::clone(&bench);
                        scope.spawn(move || index(bench.changed(&claim(*uid, n), &[])))
                    })
                    .collect();
                let taps = claims.into_iter().map(|c| c.join().unwrap()).collect();
                refill.join().unwrap();
                taps
            });
            let different: BTreeSet<u32> = taps.iter().copied().collect();
            assert_eq!(different.len(), 32, "{taps:?}");
            for (n, uid) in (1..).zip(&uids) {
                assert_eq!(ip_link(&format!("bgr{n}"))["ifalias"], uid.to_string());
            }
            thread::scope(|scope| {
                for (n, uid) in (1..).zip(&uids) {
                    let bench = &bench;
                    scope.spawn(move || bench.changed(&release(*uid, n), &[]));
                }
            });
            assert_eq!(counts(&bench), (32, 0, 0));
        }
    });
}

#[test]
fn calls_that_come_together_are_one_warm_up() {
    native(
        "calls_that_come_together_are_one_warm_up",
        &NEEDS,
        |bench| {
            bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
            let bench = &*bench;
            let changed = thread::scope(|scope| {
                let calls: Vec<_> = (0..16)
                    .map(|_| scope.spawn(|| bench.call(&ensure(8, 4), &[])))
                    .collect();
                let answers = calls.into_iter().map(|call| call.join().unwrap());
                answers
                    .filter(|a| matches!(a, Response::Changed { .. }))
                    .count()
            });
            assert_eq!(changed, 1);
            let pool = pool(bench);
            assert_eq!((pool.warm, pool.created, pool.failed), (8, 8, 0));
        },
    );
}

#[test]
fn a_batch_that_fails_as_a_whole_ends_the_warm_up() {
    let name = "a_batch_that_fails_as_a_whole_ends_the_warm_up";
    native(name, &NEEDS, |bench| {
        // Nothing can be a port of this.
        run("ip", &["tuntap", "add", "br-test", "mode", "tap"]);
        let before = names();
        let error = bench.error(&ensure(64, 4), &[]);
        assert_eq!(error.step, "RTM_SETLINK", "{error}");
        let pool = pool(bench);
        assert_eq!(
            (pool.created, pool.failed),
            (0, 4),
            "one batch, not sixteen"
        );
        // A program that another test starts has our descriptors until its exec.
        let gone = (0..100).any(|_| names() == before);
        assert!(gone, "nothing is left of it");
        run("ip", &["link", "delete", "br-test"]);
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        bench.changed(&ensure(2, 4), &[]);
        assert!(names().contains("tap-pool-1"), "no number was burnt");
    });
}

#[test]
fn at_size_0_every_tap_of_the_pool_goes_and_no_other() {
    let name = "at_size_0_every_tap_of_the_pool_goes_and_no_other";
    native(name, &NEEDS, |bench| {
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        bench.changed(&ensure(64, 16), &[]);
        let uid = bench.uid();
        bench.changed(&claim(uid, 1), &[]);
        run("ip", &["tuntap", "add", "mine", "mode", "tap"]);
        bench.changed(&ensure(5, 1), &[]);
        assert_eq!(counts(bench), (10, 0, 1), "twice the size stays");
        // It needs no bridge.
        run("ip", &["link", "delete", "br-test"]);
        bench.changed(&ensure(0, 1), &[]);
        bench.unchanged(&ensure(0, 1), &[]);
        assert_eq!(
            names(),
            BTreeSet::from(["lo", "bgr-carrier", "bgr1", "mine"].map(String::from))
        );
    });
}

/// A daemon of minor 0 refuses a section that it doesn't know.
#[test]
fn an_older_daemon_hears_nothing_of_the_pool() {
    native(
        "an_older_daemon_hears_nothing_of_the_pool",
        &NEEDS,
        |bench| {
            let speak = |minor: u16| {
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
            };
            assert!(speak(1).contains("\"pool\""));
            let old = speak(0);
            assert!(
                old.contains("\"taps\"") && !old.contains("\"pool\""),
                "{old}"
            );
        },
    );
}
