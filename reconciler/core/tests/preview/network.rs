//! What guests reach.

use banger_core::api::status::{ConditionStatus, ConditionType, Phase};
use banger_core::diff::report;
use banger_core::effect::Effect;
use banger_core::intent::Intents;
use banger_core::observed::{Observed, Presence};
use banger_core::plan::{Clock, HostStep, plan};
use banger_protocol::inventory::Ipv6;
use banger_protocol::{Family, Firewall, NetworkPolicy, Obstacle, Way};

use super::{CLOCK, running, status, take};

#[test]
fn an_egress_policy_is_taken_live_and_goes_to_the_helper_whole() {
    let (before, observed) = running("vcpus: 1");
    let spec = "network: {egress: {allow: [192.0.2.0/25, 10.0.0.0/8, 192.0.2.128/25]}}";
    let admission = take(spec, &before);
    let vm = admission.intents.vms.values().next().unwrap();
    assert_eq!(vm.generation, 2);
    let shown = report(&before, &admission, &observed, CLOCK);
    let change = &shown.entries[0].fields[0];
    assert_eq!(change.field, "spec.network.egress.allow");
    assert_eq!((change.from.as_str(), change.effect), ("", Effect::Live));
    assert_eq!(change.to, "[10.0.0.0/8, 192.0.2.0/24]");
    let step = |intents: &Intents, clock| {
        let planned = plan(intents, &observed, clock);
        assert!(planned.vms.is_empty(), "nothing else happens: {planned:?}");
        match planned.host.as_slice() {
            [] => None,
            [HostStep::EnsureNat { policy }] => Some(policy.clone()),
            other => panic!("{other:?}"),
        }
    };
    let policy = step(&admission.intents, CLOCK).unwrap();
    assert_eq!(
        policy.egress.get(vm.allocation.slot),
        vm.spec.egress.as_ref()
    );
    // The same networks in other words change nothing.
    let again = take(
        "network: {egress: {allow: [192.0.2.0/24, 10.0.0.0/8]}}",
        &admission.intents,
    );
    assert_eq!(again.intents.vms.values().next().unwrap().generation, 2);
    // Nothing at all isn't everything.
    let none = take("network: {egress: {allow: []}}", &admission.intents);
    let policy = step(&none.intents, CLOCK).unwrap();
    assert!(policy.egress.get(vm.allocation.slot).unwrap().is_empty());
    // And what the configuration says of guests among themselves.
    assert_eq!(step(&before, CLOCK), None);
    let apart = Clock {
        guest_to_guest: false,
        ..CLOCK
    };
    assert!(step(&before, apart).unwrap().isolated);
}

/// What a host without IPv6, or a helper that doesn't know of it, makes of the plan.
#[test]
fn guests_have_ipv6_where_the_host_has_it() {
    let spec = "network: {egress: {allow: [10.0.0.0/8, \"2001:db8::/32\"]}}";
    let (intents, observed) = running(spec);
    let slot = intents.vms.values().next().unwrap().allocation.slot;
    let step = |far, clock| {
        let observed = Observed {
            ipv6: far,
            ..observed.clone()
        };
        let planned = plan(&intents, &observed, clock);
        let mut bridge = None;
        let mut policy = None;
        for step in planned.host {
            match step {
                HostStep::EnsureBridge { ipv6 } => bridge = Some(ipv6),
                HostStep::EnsureNat { policy: wanted } => policy = Some(wanted),
                other => panic!("{other:?}"),
            }
        }
        let networks = |policy: NetworkPolicy| {
            let allow = policy.egress.get(slot).unwrap();
            (policy.ipv6, allow.len(), allow.len6())
        };
        (bridge, policy.map(networks))
    };
    let off = Clock {
        ipv6: false,
        ..CLOCK
    };
    let (with, without) = (Some((true, 2, 1)), Some((false, 1, 0)));
    let there = Presence::Present;
    assert_eq!(step(there(Ipv6::Bridge), CLOCK), (None, with));
    assert_eq!(step(there(Ipv6::Host), CLOCK), (Some(true), with));
    assert_eq!(step(there(Ipv6::Off), CLOCK), (None, without));
    assert_eq!(step(Presence::Absent, CLOCK), (None, without));
    assert_eq!(step(there(Ipv6::Bridge), off), (Some(false), without));
    assert_eq!(step(there(Ipv6::Host), off), (None, without));
    // What can't be told changes nothing: the tables have it.
    let blind = Presence::Unknown("no netlink".into());
    assert_eq!(step(blind, CLOCK), (None, with));
}

#[test]
fn a_firewall_in_the_way_is_a_condition() {
    let (intents, observed) = running("vcpus: 1");
    let admission = take("vcpus: 1", &intents);
    let obstacle = Obstacle {
        firewall: Firewall::Docker,
        way: Way::Out,
        family: Family::Ipv4,
        bridge: "br-banger".into(),
        table: "ip filter".into(),
        chain: "FORWARD".into(),
        rule: None,
    };
    let condition = |intents: &Intents, obstacles: Presence<Vec<Obstacle>>| {
        let observed = Observed {
            obstacles,
            ..observed.clone()
        };
        let status = status(intents, &observed, &admission);
        assert_eq!(status.phase, Phase::Ready);
        let mut all = status.conditions.into_iter();
        all.find(|it| it.kind == ConditionType::NetworkReady)
    };
    let stands = |obstacles| condition(&intents, obstacles).map(|it| it.status);
    let found = condition(&intents, Presence::Present(vec![obstacle.clone()])).unwrap();
    assert_eq!(
        (found.status, found.reason.as_str()),
        (ConditionStatus::False, "FirewallInTheWay")
    );
    assert!(found.message.contains("chain `FORWARD`") && found.message.contains("DOCKER-USER"));
    assert_eq!(
        stands(Presence::Present(vec![])),
        Some(ConditionStatus::True)
    );
    assert_eq!(
        stands(Presence::Unknown("no nft".into())),
        Some(ConditionStatus::Unknown)
    );
    assert_eq!(stands(Presence::Absent), None, "a helper that doesn't look");
    let inside = take("network: {nat: false}", &intents).intents;
    assert_eq!(condition(&inside, Presence::Present(vec![obstacle])), None);
}
