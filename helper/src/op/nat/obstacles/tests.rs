//! Rulesets as nft 1.0.6 lists them, and what of them is in the way. Those of ufw
//! 0.36 and firewalld 1.3 are what they set up (Debian 12), without the counters.
#![allow(clippy::unwrap_used)]

use banger_protocol::{Family, Firewall, Install, Obstacle, Way};

use super::{Listing, find};

fn install() -> Install {
    Install {
        bridge: "br-test".into(),
        ..Install::of("owner", 1000, 1000, "10.213.0.0/24".parse().unwrap())
    }
}

/// Firewall, way, family, table, chain, whether a rule is named.
type Told = (Firewall, Way, Family, String, String, bool);

fn told(text: &str) -> Vec<Told> {
    let listing = Listing::parse(text).unwrap();
    let all = find(&listing, &install()).into_iter();
    all.map(
        |Obstacle {
             firewall,
             way,
             family,
             table,
             chain,
             rule,
             ..
         }| { (firewall, way, family, table, chain, rule.is_some()) },
    )
    .collect()
}

fn one(firewall: Firewall, way: Way, table: &str, chain: &str, rule: bool) -> Told {
    (
        firewall,
        way,
        Family::Ipv4,
        table.into(),
        chain.into(),
        rule,
    )
}

fn six(firewall: Firewall, way: Way, table: &str, chain: &str, rule: bool) -> Told {
    let one = one(firewall, way, table, chain, rule);
    (one.0, one.1, Family::Ipv6, one.3, one.4, one.5)
}

/// Without the lines that have all of these words.
fn without(text: &str, words: &[&str]) -> String {
    let has = |line: &&str| words.iter().all(|word| line.contains(word));
    let lines: Vec<&str> = text.lines().filter(|line| !has(line)).collect();
    assert!(lines.len() < text.lines().count());
    lines.join("\n")
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
    let forward = one(Firewall::Ufw, Way::Out, "ip filter", "FORWARD", false);
    let dns = one(Firewall::Ufw, Way::Host, "ip filter", "INPUT", false);
    let forward6 = six(Firewall::Ufw, Way::Out, "ip6 filter", "FORWARD", false);
    // Neighbour discovery is one of its exceptions.
    assert_eq!(
        told(include_str!("rulesets/ufw.json")),
        [dns.clone(), forward.clone(), forward6]
    );
    // `ufw allow in on` and `ufw route allow in on`.
    let allowed = include_str!("rulesets/ufw-allowed.json");
    assert_eq!(told(allowed), []);
    let routed = without(allowed, &["br-test", "\"ufw-user-input\""]);
    assert_eq!(told(&routed), [dns]);
    let only_in = without(allowed, &["br-test", "\"ufw-user-forward\""]);
    assert_eq!(told(&only_in), [forward]);
    let deaf = without(include_str!("rulesets/ufw.json"), &["icmp6", "input"]);
    let solicitations = six(Firewall::Ufw, Way::Host, "ip6 filter", "INPUT", false);
    assert!(told(&deaf).contains(&solicitations));
}

/// nft doesn't tell what extension of iptables a rule has, an older one not even
/// its name: `ufw-not-local` returns for what is the host's, and drops the rest.
#[test]
fn an_extension_of_iptables_is_believed_to_do_no_harm() {
    let mut text = include_str!("rulesets/ufw-allowed.json").to_owned();
    for name in ["conntrack", "addrtype", "icmp", "icmp6", "hl", "rt"] {
        let named = format!(r#"{{"xt": {{"type": "match", "name": "{name}"}}}}"#);
        assert!(text.contains(&named));
        text = text.replace(&named, r#"{"xt": null}"#);
    }
    assert_eq!(told(&text), []);
}

#[test]
fn firewalld_rejects_but_in_its_trusted_zone() {
    let table = "inet firewalld";
    let rejects = |of: fn(Firewall, Way, &str, &str, bool) -> Told, way, chain| {
        of(Firewall::Firewalld, way, table, chain, true)
    };
    assert_eq!(
        told(include_str!("rulesets/firewalld.json")),
        [
            rejects(one, Way::Host, "filter_IN_public"),
            rejects(one, Way::Out, "filter_FWD_public"),
            rejects(six, Way::Out, "filter_FWD_public"),
        ]
    );
    assert_eq!(told(include_str!("rulesets/firewalld-trusted.json")), []);
}

#[test]
fn a_table_of_ones_own_is_followed_rule_by_rule() {
    let out = one(Firewall::Other, Way::Out, "inet filter", "forward", false);
    let ip6 = |way| six(Firewall::Other, way, "ip6 filter", "FORWARD", false);
    let ip6 = [ip6(Way::Out), ip6(Way::Back)];
    let whole = told(include_str!("rulesets/own.json"));
    assert_eq!(whole, [&[out][..], &ip6].concat());
    assert_eq!(told(include_str!("rulesets/own-excepted.json")), ip6);
}

/// A table with one base chain at this hook that drops what these rules don't accept.
fn dropping(hook: &str, rules: &[&str]) -> String {
    let rule = |expr: &&str| {
        format!(
            r#",{{"rule": {{"family": "inet", "table": "t", "chain": "c", "handle": 1, "expr": [{expr}]}}}}"#
        )
    };
    let rules: String = rules.iter().map(rule).collect();
    format!(
        r#"{{"nftables": [{{"chain": {{"family": "inet", "table": "t", "name": "c", "hook": "{hook}", "policy": "drop"}}}}{rules}]}}"#
    )
}

fn meets(left: &str, right: &str) -> String {
    format!(r#"{{"match": {{"op": "==", "left": {left}, "right": {right}}}}}"#)
}

fn field(protocol: &str, field: &str, right: &str) -> String {
    let left = format!(r#"{{"payload": {{"protocol": "{protocol}", "field": "{field}"}}}}"#);
    meets(&left, right)
}

fn meta(key: &str, right: &str) -> String {
    meets(&format!(r#"{{"meta": {{"key": "{key}"}}}}"#), right)
}

#[test]
fn what_guests_need_of_the_host_is_let_in_in_many_ways() {
    let port = field("udp", "dport", r#"{"set": [22, {"range": [50, 60]}]}"#);
    let fib = meets(
        r#"{"fib": {"result": "type", "flags": "daddr"}}"#,
        r#""local""#,
    );
    let dns = one(Firewall::Other, Way::Host, "inet t", "c", false);
    let solicitation = six(Firewall::Other, Way::Host, "inet t", "c", false);
    let none = Vec::new();
    let both = vec![dns.clone(), solicitation.clone()];
    let six = vec![solicitation];
    let four = vec![dns];
    for (matches, expected) in [
        (vec![], &none),
        (vec![meta("iifname", r#""br-test""#)], &none),
        (vec![meta("iifname", r#""eth0""#)], &both),
        (vec![meta("oifname", r#""br-test""#)], &both),
        (vec![port.clone()], &six),
        (
            vec![
                meta("l4proto", r#"{"set": ["tcp", "udp"]}"#),
                field("th", "dport", "53"),
            ],
            &six,
        ),
        (vec![field("udp", "dport", "5353")], &both),
        (vec![field("tcp", "dport", "53")], &both),
        (vec![port, field("ip", "daddr", r#""10.213.0.1""#)], &six),
        (vec![field("ip", "daddr", r#""10.213.0.2""#)], &both),
        (
            vec![field(
                "ip",
                "saddr",
                r#"{"prefix": {"addr": "10.213.0.0", "len": 25}}"#,
            )],
            &both,
        ),
        (vec![fib], &six),
        (vec![meta("l4proto", "58")], &four),
        (
            vec![field(
                "icmpv6",
                "type",
                r#"{"set": ["nd-neighbor-solicit"]}"#,
            )],
            &four,
        ),
        (vec![field("ip6", "nexthdr", r#""icmpv6""#)], &four),
        (
            vec![r#"{"limit": {"rate": 3, "per": "minute"}}"#.to_owned()],
            &both,
        ),
    ] {
        let rule = [&matches[..], &[r#"{"accept": null}"#.to_owned()]].concat();
        let text = dropping("input", &[&rule.join(",")]);
        assert_eq!(&told(&text), expected, "{text}");
    }
}

#[test]
fn what_the_host_sends_to_guests_is_let_out_in_many_ways() {
    let state = |right: &str| meets(r#"{"ct": {"key": "state"}}"#, right);
    let connection = one(Firewall::Other, Way::Guest, "inet t", "c", false);
    let advertisement = six(Firewall::Other, Way::Guest, "inet t", "c", false);
    let none = Vec::new();
    let both = vec![connection.clone(), advertisement.clone()];
    let six = vec![advertisement];
    let four = vec![connection];
    for (matches, expected) in [
        (vec![], &none),
        (vec![meta("oifname", r#""br-test""#)], &none),
        (vec![meta("oifname", r#""lo""#)], &both),
        // Nothing that the host sends came in anywhere.
        (vec![meta("iifname", r#""br-test""#)], &both),
        // Answers alone are no way to begin anything.
        (vec![state(r#"["established", "related"]"#)], &both),
        (
            vec![state(r#"["established", "related", "untracked"]"#)],
            &four,
        ),
        (vec![state(r#""new""#)], &none),
        (vec![field("tcp", "dport", r#"{"set": [22, 443]}"#)], &six),
        (vec![field("tcp", "dport", "443")], &both),
        (vec![field("udp", "dport", "22")], &both),
        (vec![meta("l4proto", r#""tcp""#)], &six),
        (vec![field("ip", "daddr", r#""10.213.0.2""#)], &both),
        (
            vec![field(
                "ip",
                "daddr",
                r#"{"prefix": {"addr": "10.0.0.0", "len": 8}}"#,
            )],
            &six,
        ),
        (vec![field("ip", "saddr", r#""10.213.0.1""#)], &six),
        (
            vec![field("icmpv6", "type", r#""nd-neighbor-advert""#)],
            &four,
        ),
        (
            vec![field("icmpv6", "type", r#""nd-neighbor-solicit""#)],
            &both,
        ),
    ] {
        let rule = [&matches[..], &[r#"{"accept": null}"#.to_owned()]].concat();
        let text = dropping("output", &[&rule.join(",")]);
        assert_eq!(&told(&text), expected, "{text}");
    }
    // By what it leaves through, as firewalld has it.
    let lets_out = r#"{"vmap": {"key": {"meta": {"key": "oifname"}}, "data": {"set": [["lo", {"drop": null}], ["br-test", {"accept": null}]]}}}"#;
    assert_eq!(told(&dropping("output", &[lets_out])), []);
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
