//! The host's network tables: what others do to them.

use banger_core::api::Kind;
use banger_core::api::status::{ConditionStatus, ConditionType};
use banger_protocol::{Family, Firewall, Obstacle, Way};

use super::{Daemon, IMAGE, Published, condition, get, vm};

#[tokio::test(start_paused = true)]
async fn a_flushed_ruleset_comes_back_and_is_told() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    let spec = "  network: {egress: {allow: [192.0.2.0/24]}}\n";
    daemon.write("web.yaml", &vm("web", spec)).await;
    let web = daemon.ready("web").await;
    let stood = daemon.host.policy().unwrap();
    assert!(!stood.egress.is_empty());
    // What the owner changes is no repair.
    let spec = "  network: {egress: {allow: [198.51.100.0/24]}}\n";
    daemon.write("web.yaml", &vm("web", spec)).await;
    let changed = |now: &Published| get(now, "web").unwrap().metadata.generation == 2;
    daemon.until("the edit", changed).await;
    while daemon.host.policy() == Some(stood.clone()) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let stood = daemon.host.policy();
    let reasons = daemon.reasons(Kind::VirtualMachine, "web").await;
    assert!(
        !reasons.contains(&"NetworkRepaired".to_owned()),
        "{reasons:?}"
    );

    daemon.host.flush_ruleset();
    while daemon.host.policy() != stood {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let told = async || daemon.reasons(Kind::VirtualMachine, "web").await;
    while !told().await.contains(&"NetworkRepaired".to_owned()) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let again = daemon.ready("web").await;
    assert_eq!(
        again.status.handles.unwrap().pid,
        web.status.handles.unwrap().pid,
        "the VM went on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_firewall_in_the_way_is_told_for_as_long_as_it_is() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.ready("web").await;
    let network = |now: &Published| condition(&get(now, "web")?, ConditionType::NetworkReady);
    let is = |status| move |now: &Published| network(now).is_some_and(|(it, _)| it == status);
    daemon.until("the network", is(ConditionStatus::True)).await;
    daemon.host.obstruct(vec![Obstacle {
        firewall: Firewall::Docker,
        way: Way::Out,
        family: Family::Ipv4,
        bridge: "br-banger".into(),
        table: "ip filter".into(),
        chain: "FORWARD".into(),
        rule: None,
    }]);
    let now = daemon
        .until("the firewall", is(ConditionStatus::False))
        .await;
    assert!(
        network(&now)
            .unwrap()
            .1
            .contains("DOCKER-USER -i br-banger")
    );
    let reasons = daemon.reasons(Kind::VirtualMachine, "web").await;
    assert!(
        reasons.contains(&"FirewallInTheWay".to_owned()),
        "{reasons:?}"
    );
    daemon.ready("web").await;
    daemon.host.obstruct(Vec::new());
    daemon
        .until("the way is free", is(ConditionStatus::True))
        .await;
}
