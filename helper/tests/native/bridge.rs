//! The bridge.

use banger_protocol::inventory::Probe;
use banger_protocol::{Request, Retry};

use crate::bench::{ip_link, native, run, slot};

const NEEDS: [&str; 2] = ["/sbin/ip", "/sys/module/bridge"];

#[test]
fn the_bridge_has_address_and_carrier_without_a_tap() {
    native(
        "the_bridge_has_address_and_carrier_without_a_tap",
        &NEEDS,
        |bench| {
            bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
            let addresses = run("ip", &["-4", "addr", "show", "dev", "br-test"]);
            assert!(addresses.contains("inet 10.213.0.1/24"), "{addresses}");
            let link = ip_link("br-test");
            assert_eq!(link["operstate"], "UP");
            assert_eq!(link["address"], "02:ba:0a:d5:00:01");
            bench.unchanged(&Request::EnsureBridge { ipv6: false }, &[]);

            run("ip", &["link", "set", "bgr-carrier", "nomaster"]);
            run("ip", &["addr", "flush", "dev", "br-test"]);
            bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
            bench.unchanged(&Request::EnsureBridge { ipv6: false }, &[]);
            assert_eq!(ip_link("bgr-carrier")["master"], "br-test");
        },
    );
}

#[test]
fn a_bridge_of_somebody_else_is_refused() {
    native("a_bridge_of_somebody_else_is_refused", &NEEDS, |bench| {
        run("ip", &["link", "add", "br-test", "type", "bridge"]);
        let error = bench.error(&Request::EnsureBridge { ipv6: false }, &[]);
        assert_eq!((error.step.as_str(), error.retry), ("alias", Retry::Never));
        assert_eq!(ip_link("br-test")["ifalias"], serde_json::Value::Null);
    });
}

#[test]
fn a_subnet_that_is_in_use_is_refused() {
    native("a_subnet_that_is_in_use_is_refused", &NEEDS, |bench| {
        run("ip", &["link", "add", "eth9", "type", "bridge"]);
        run("ip", &["addr", "add", "10.213.0.77/24", "dev", "eth9"]);
        let error = bench.error(&Request::EnsureBridge { ipv6: false }, &[]);
        assert_eq!(error.step, "subnet");
    });
}

/// Also where the helper died before the last of them: without all taps on it,
/// the bridge doesn't stand.
#[test]
fn a_bridge_that_is_made_anew_takes_the_taps_of_all_vms() {
    let name = "a_bridge_that_is_made_anew_takes_the_taps_of_all_vms";
    let needs = [NEEDS[0], NEEDS[1], "/dev/net/tun"];
    native(name, &needs, |bench| {
        let ensure = Request::EnsureBridge { ipv6: false };
        bench.changed(&ensure, &[]);
        for n in [1, 2, 3] {
            let (uid, slot) = (bench.uid(), slot(n));
            bench.changed(&Request::EnsureTap { uid, slot }, &[]);
        }
        // Another installation's.
        run("ip", &["link", "add", "br-other", "type", "bridge"]);
        run("ip", &["link", "set", "bgr3", "master", "br-other"]);
        assert_eq!(bench.inventory().bridge, Probe::Known(true));

        run("ip", &["link", "del", "br-test"]);
        assert_eq!(bench.inventory().bridge, Probe::Known(false));
        bench.changed(&ensure, &[]);
        for tap in ["bgr1", "bgr2"] {
            assert_eq!(ip_link(tap)["master"], "br-test");
        }
        assert_eq!(bench.inventory().bridge, Probe::Known(true));
        bench.unchanged(&ensure, &[]);

        for cut_off in [["nomaster"].as_slice(), &["down"]] {
            run(
                "ip",
                &[["link", "set", "bgr2"].as_slice(), cut_off].concat(),
            );
            assert_eq!(bench.inventory().bridge, Probe::Known(false));
            bench.changed(&ensure, &[]);
            assert_eq!(ip_link("bgr2")["master"], "br-test");
            assert_eq!(bench.inventory().bridge, Probe::Known(true));
        }
        assert_eq!(ip_link("bgr3")["master"], "br-other");
    });
}
