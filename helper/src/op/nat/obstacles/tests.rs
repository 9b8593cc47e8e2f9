//! Rulesets as nft 1.0.6 lists them, and what of them is in the way.
#![allow(clippy::unwrap_used)]

use banger_protocol::{Firewall, Install, Obstacle, Way};

use super::{Listing, find};

fn install() -> Install {
    Install {
        owner: "owner".into(),
        owner_uid: 1000,
        owner_gid: 1000,
        state_dir: "/var/lib/banger".into(),
        jail_dir: "/var/lib/banger-helper/jail".into(),
        bridge: "br-test".into(),
        subnet: "10.213.0.0/24".parse().unwrap(),
        subnet6: None,
        uid_base: 50_000,
        slots: 100,
        firecracker: "/usr/lib/banger/firecracker".into(),
        jailer: "/usr/lib/banger/jailer".into(),
        agent: "/usr/lib/banger/agent".into(),
    }
}

/// Firewall, way, table, chain, whether a rule is named.
type Told = (Firewall, Way, String, String, bool);

fn told(text: &str) -> Vec<Told> {
    let listing = Listing::parse(text).unwrap();
    let all = find(&listing, &install()).into_iter();
    all.map(
        |Obstacle {
             firewall,
             way,
             table,
             chain,
             rule,
             ..
         }| { (firewall, way, table, chain, rule.is_some()) },
    )
    .collect()
}

fn one(firewall: Firewall, way: Way, table: &str, chain: &str, rule: bool) -> Told {
    (firewall, way, table.into(), chain.into(), rule)
}

#[test]
fn docker_drops_what_it_does_not_know() {
    let of = |way| one(Firewall::Docker, way, "ip filter", "FORWARD", false);
    let whole = told(include_str!("rulesets/docker.json"));
    assert_eq!(whole, [of(Way::Out), of(Way::Back)]);
    assert_eq!(told(include_str!("rulesets/docker-excepted.json")), []);
    let out_only = told(include_str!("rulesets/docker-out-only.json"));
    assert_eq!(out_only, [of(Way::Back)]);
}

#[test]
fn ufw_lets_answers_through_and_drops_what_is_new() {
    let out = one(Firewall::Ufw, Way::Out, "ip filter", "FORWARD", false);
    assert_eq!(told(include_str!("rulesets/ufw.json")), [out]);
    assert_eq!(told(include_str!("rulesets/ufw-routed.json")), []);
}

/// nft of Debian 12 doesn't tell what extension of iptables a rule has.
#[test]
fn an_extension_of_iptables_is_believed_to_accept_answers() {
    for extension in ["null", r#"{"type": "match", "name": "conntrack"}"#] {
        let text = include_str!("rulesets/ufw.json").replacen(
            r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}"#,
            &format!(r#"{{"xt": {extension}}}"#),
            1,
        );
        assert!(text.contains("xt"));
        let out = one(Firewall::Ufw, Way::Out, "ip filter", "FORWARD", false);
        assert_eq!(told(&text), [out]);
    }
}

#[test]
fn firewalld_rejects_but_in_its_trusted_zone() {
    let out = one(
        Firewall::Firewalld,
        Way::Out,
        "inet firewalld",
        "filter_FORWARD",
        true,
    );
    assert_eq!(told(include_str!("rulesets/firewalld.json")), [out]);
    assert_eq!(told(include_str!("rulesets/firewalld-trusted.json")), []);
}

#[test]
fn a_table_of_ones_own_is_followed_rule_by_rule() {
    let out = one(Firewall::Other, Way::Out, "inet filter", "forward", false);
    assert_eq!(told(include_str!("rulesets/own.json")), [out]);
    assert_eq!(told(include_str!("rulesets/own-excepted.json")), []);
}

#[test]
fn nothing_strange_in_a_list_is_followed_for_ever() {
    assert_eq!(told(r#"{"nftables": []}"#), []);
    assert_eq!(
        told(r#"{"nftables": [{"chain": {"family": "ip"}}, {"rule": 1}, 7]}"#),
        []
    );
    // The kernel has no such loops; a list could.
    let chain = r#"{"chain": {"family": "ip", "table": "t", "name": "c", "hook": "forward", "policy": "accept"}}"#;
    let jump = r#"{"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 1, "expr": [{"jump": {"target": "c"}}]}}"#;
    let rules = vec![jump; 40].join(",");
    assert_eq!(told(&format!(r#"{{"nftables": [{chain},{rules}]}}"#)), []);
    // Not a line of ours is an obstacle of others'.
    let ours = r#"{"chain": {"family": "inet", "table": "banger", "name": "forward", "hook": "forward", "policy": "drop"}}"#;
    assert_eq!(told(&format!(r#"{{"nftables": [{ours}]}}"#)), []);
}
