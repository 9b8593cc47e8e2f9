//! The inventory.

use std::os::fd::AsFd;

use banger_protocol::inventory::Probe;
use banger_protocol::{DiskRole, Request};

use crate::bench::{ensure_loop, native, open_rw, run, skipped, slot};

const NEEDS: [&str; 3] = ["/sbin/ip", "/dev/net/tun", "/dev/loop-control"];

#[test]
fn everything_is_seen_and_foreign_taps_are_told_apart() {
    native(
        "everything_is_seen_and_foreign_taps_are_told_apart",
        &NEEDS,
        |bench| {
            let uid = bench.uid();
            assert_eq!(bench.inventory().bridge, Probe::Known(false));
            assert_eq!(bench.inventory().taps, Probe::Known(vec![]));
            bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
            bench.changed(&Request::EnsureTap { uid, slot: slot(5) }, &[]);
            let disk = open_rw(&bench.disk("work", 1 << 20));
            bench.changed(&ensure_loop(uid, DiskRole::Work), &[disk.as_fd()]);
            run("ip", &["tuntap", "add", "stray", "mode", "tap"]);
            run("ip", &["link", "set", "stray", "master", "br-test"]);
            run("ip", &["tuntap", "add", "bgr99", "mode", "tap"]);

            let inventory = bench.inventory();
            assert_eq!(inventory.bridge, Probe::Known(true));
            assert_eq!(inventory.boot_id.len(), 36);
            let Probe::Known(taps) = inventory.taps else {
                panic!("taps are unknown");
            };
            let seen: Vec<_> = taps
                .iter()
                .map(|t| (t.name.as_str(), t.uid, t.attached))
                .collect();
            assert_eq!(seen, [("bgr5", Some(uid), true), ("stray", None, false)]);
            let Probe::Known(loops) = inventory.loops else {
                panic!("loops are unknown");
            };
            assert_eq!(loops.iter().filter(|l| l.uid == uid).count(), 1);
        },
    );
}

#[test]
fn what_cannot_be_read_is_unknown_and_says_why() {
    let name = "what_cannot_be_read_is_unknown_and_says_why";
    if std::path::Path::new("/run/systemd/system").exists() {
        return skipped(name, "systemd runs here");
    }
    native(name, &[], |bench| {
        let inventory = bench.inventory();
        let Probe::Unknown(why) = inventory.vmms else {
            panic!("{:?}", inventory.vmms);
        };
        assert!(why.contains("D-Bus"), "{why}");
        if !std::path::Path::new("/sys/class/misc/device-mapper").exists() {
            let Probe::Unknown(why) = inventory.dms else {
                panic!("{:?}", inventory.dms);
            };
            assert!(why.contains("dmsetup"), "{why}");
        }
        // Nothing is removed on the strength of an unknown.
        let uid = bench.uid();
        assert_eq!(bench.error(&Request::RemoveVmm { uid }, &[]).step, "D-Bus");
    });
}
