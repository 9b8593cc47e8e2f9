//! Which VMs have names.

use std::net::IpAddr;

use banger_core::api::status::Object;
use serde_json::json;

use super::*;

pub(super) fn object(name: &str, address: &str, phase: &str) -> Object {
    serde_json::from_value(json!({
        "apiVersion": "banger.dev/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {
            "name": name,
            "uid": "01920000-0000-7000-8000-000000000001",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "source": null,
        },
        "spec": {"image": "debian-12"},
        "status": {
            "phase": phase,
            "observedGeneration": 1,
            "conditions": [],
            "runtime": {
                "guestIp": address,
                "mac": "02:ba:7f:4d:00:02",
                "vsockCid": 3,
                "dnsName": format!("{name}.vm"),
                "vmDir": "/v",
                "serialLog": "/v/serial.log",
                "apiSocket": "/s/fc.sock",
                "vsockSocket": "/s/v.sock",
                "knownHosts": "/v/known_hosts",
                "restarts": 0,
            },
        },
    }))
    .unwrap()
}

fn known(records: &Records, name: &str) -> Vec<IpAddr> {
    let addresses = records.addresses(name).into_iter().flatten();
    addresses.copied().collect()
}

#[test]
fn only_a_guest_that_runs_has_a_name() {
    let none = Records::default();
    for (phase, live) in [
        ("Pending", false),
        ("Creating", false),
        ("Booting", true),
        ("Ready", true),
        ("NotReady", true),
        ("Stopping", false),
        ("Stopped", false),
        ("Failed", false),
        ("CrashLoopBackOff", false),
        ("Deleting", false),
        ("Unknown", false),
    ] {
        let records = Records::of(&[object("web", "127.77.0.2", phase)], &none);
        let expected: &[IpAddr] = if live { &[IpAddr::V4(GUEST)] } else { &[] };
        assert_eq!(known(&records, "web"), expected, "{phase}");
        assert_eq!(records.name(GUEST.into()).is_some(), live, "{phase}");
        assert_eq!(records.is_empty(), !live);
    }
}

#[test]
fn a_guest_that_has_ipv6_has_two_addresses() {
    let mut web = object("web", "127.77.0.2", "Ready");
    let none = Records::default();
    let set = |web: &mut Object, address| {
        web.status.runtime.as_mut().unwrap().guest_ip6 = address;
    };
    set(&mut web, Some(GUEST6));
    let records = Records::of(std::slice::from_ref(&web), &none);
    assert_eq!(known(&records, "web"), [IpAddr::V4(GUEST), GUEST6.into()]);
    assert_eq!(records.name(GUEST6.into()), Some(&vm("web")));
    // What can't be observed keeps both.
    let mut unknown = object("web", "127.77.0.2", "Unknown");
    set(&mut unknown, None);
    assert_eq!(Records::of(&[unknown], &records), records);
    set(&mut web, None);
    let records = Records::of(&[web], &records);
    assert_eq!(known(&records, "web"), [IpAddr::V4(GUEST)]);
}

#[test]
fn a_vm_that_cannot_be_observed_keeps_what_it_had() {
    let before = Records::of(&[object("web", "127.77.0.2", "Ready")], &Records::default());
    let now = Records::of(&[object("web", "127.77.0.2", "Unknown")], &before);
    assert_eq!(now, before);
    // A successor of another name, or with another address, inherits nothing.
    for other in [("db", "127.77.0.2"), ("web", "127.77.0.3")] {
        let now = Records::of(&[object(other.0, other.1, "Unknown")], &before);
        assert!(now.is_empty(), "{other:?}");
    }
    // What isn't there any more has no name, whatever was before.
    assert!(Records::of(&[], &before).is_empty());
}

#[tokio::test]
async fn a_change_is_in_the_next_answer() {
    let (names, records) = watch::channel(Arc::new(records()));
    let server = Server::new(zone(), records, Resolvers::Fixed(Vec::new()));
    let packet = bytes(&query("web.vm.", RecordType::A));
    let before = read(&answered(&server, &packet, Transport::Udp));
    assert_eq!(before.answers.len(), 1);
    names.send_replace(Arc::default());
    let after = read(&answered(&server, &packet, Transport::Udp));
    assert_eq!(
        after.metadata.response_code,
        hickory_proto::op::ResponseCode::NXDomain
    );
}
