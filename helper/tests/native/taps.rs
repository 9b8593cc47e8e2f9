//! Taps.

use std::collections::BTreeSet;
use std::thread;

use banger_protocol::{Request, Retry, VmUid};

use crate::bench::{Bench, ip_link, native, run, slot};
use crate::pool::{claim, index, release};

const NEEDS: [&str; 2] = ["/sbin/ip", "/dev/net/tun"];

#[test]
fn a_tap_is_made_for_its_vmm_and_removed() {
    native("a_tap_is_made_for_its_vmm_and_removed", &NEEDS, |bench| {
        let (uid, slot) = (bench.uid(), slot(7));
        let ensure = Request::EnsureTap { uid, slot };
        assert_eq!(bench.error(&ensure, &[]).step, "bridge");
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        let handle = bench.changed(&ensure, &[]);
        assert_eq!(bench.unchanged(&ensure, &[]), handle);

        let link = ip_link("bgr7");
        assert_eq!(link["ifalias"], uid.to_string());
        assert_eq!(link["master"], "br-test");
        let tun = &link["linkinfo"]["info_data"];
        assert_eq!(tun["user"], 50_007, "{link}");
        assert_eq!(
            (&tun["type"], &tun["vnet_hdr"], &tun["pi"], &tun["persist"]),
            (&"tap".into(), &true.into(), &false.into(), &true.into())
        );

        run("ip", &["link", "set", "bgr7", "nomaster"]);
        assert_eq!(bench.changed(&ensure, &[]), handle);
        assert_eq!(ip_link("bgr7")["master"], "br-test");

        let remove = Request::RemoveTap { uid, slot };
        bench.changed(&remove, &[]);
        bench.unchanged(&remove, &[]);
        assert!(!run("ip", &["link"]).contains("bgr7"));
    });
}

#[test]
fn a_foreign_tap_is_refused_and_stays_as_it_is() {
    native(
        "a_foreign_tap_is_refused_and_stays_as_it_is",
        &NEEDS,
        |bench| {
            bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
            run(
                "ip",
                &["tuntap", "add", "bgr3", "mode", "tap", "user", "12345"],
            );
            let before = ip_link("bgr3");
            let (uid, slot) = (bench.uid(), slot(3));
            for request in [
                Request::EnsureTap { uid, slot },
                Request::RemoveTap { uid, slot },
            ] {
                let error = bench.error(&request, &[]);
                assert_eq!((error.step.as_str(), error.retry), ("alias", Retry::Never));
            }
            assert_eq!(ip_link("bgr3"), before);
        },
    );
}

#[test]
fn another_vms_tap_and_a_slot_out_of_range_are_refused() {
    native(
        "another_vms_tap_and_a_slot_out_of_range_are_refused",
        &NEEDS,
        |bench| {
            bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
            let (one, two) = (bench.uid(), bench.uid());
            bench.changed(
                &Request::EnsureTap {
                    uid: one,
                    slot: slot(1),
                },
                &[],
            );
            let error = bench.error(
                &Request::RemoveTap {
                    uid: two,
                    slot: slot(1),
                },
                &[],
            );
            assert_eq!(error.step, "alias");
            let error = bench.error(
                &Request::EnsureTap {
                    uid: one,
                    slot: slot(101),
                },
                &[],
            );
            assert_eq!((error.step.as_str(), error.retry), ("slot", Retry::Never));
        },
    );
}

#[test]
fn many_cold_taps_at_once_are_made_each_for_its_vm() {
    let name = "many_cold_taps_at_once_are_made_each_for_its_vm";
    native(name, &NEEDS, |bench| {
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        // One of the names is somebody else's: that harms nobody but its VM.
        run("ip", &["tuntap", "add", "bgr5", "mode", "tap"]);
        let uids: Vec<_> = (0..24).map(|_| bench.uid()).collect();
        let vms: Vec<_> = uids.iter().zip(1..).collect();
        let bench = &*bench;
        let made: BTreeSet<u32> = thread::scope(|scope| {
            let start = |(uid, n)| scope.spawn(move || make(bench, uid, n));
            let threads: Vec<_> = vms.iter().map(|(uid, n)| start((**uid, *n))).collect();
            let made = threads.into_iter().map(|it| it.join().unwrap());
            made.flatten().collect()
        });
        assert_eq!(made.len(), 23);
        for (uid, n) in vms.into_iter().filter(|(_, n)| *n != 5) {
            let link = ip_link(&format!("bgr{n}"));
            assert_eq!(link["ifalias"], uid.to_string());
            assert_eq!(link["master"], "br-test");
            assert!(link["flags"].as_array().unwrap().contains(&"UP".into()));
            let tun = &link["linkinfo"]["info_data"];
            assert_eq!(
                (&tun["user"], &tun["persist"]),
                (&(50_000 + n).into(), &true.into())
            );
            assert_eq!(
                u64::from(index(bench.unchanged(&claim(*uid, n), &[]))),
                link["ifindex"]
            );
            bench.changed(&release(*uid, n), &[]);
        }
    });

    fn make(bench: &Bench, uid: VmUid, n: u16) -> Option<u32> {
        if n != 5 {
            return Some(index(bench.changed(&claim(uid, n), &[])));
        }
        assert_eq!(bench.error(&claim(uid, n), &[]).step, "alias");
        None
    }
}
