//! What holds while VMs run, whatever the services or the host went through:
//! one look at each promise whose whole test is a scenario of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::ipv6;
use super::network::{ELSEWHERE, FETCH, SERVERS, UDP_ASK, UDP_ECHO};
use crate::{decoys, lab::Lab};

const SOON: Duration = Duration::from_secs(60);

/// Gives `web` and `worker` what the promises are about; both keep running.
pub(super) fn make(lab: &Lab) -> Result<()> {
    lab.vm(
        "web",
        "network: {ports: [{host: 8022, guest: 22}, {host: 5353, guest: 5300, protocol: udp}]}",
    )?;
    lab.vm("worker", "network: {egress: {allow: [198.51.100.0/24]}}")?;
    lab.until(
        "the policy is in the tables",
        "nft list table inet banger | grep -q 198.51.100.0/24",
        SOON,
    )
}

/// All of them hold.
pub(super) fn hold(lab: &Lab) -> Result<()> {
    lab.ready("web")?;
    lab.ready("worker")?;
    lab.root(SERVERS)?;
    lab.root(ipv6::SERVERS)?;
    lab.guest("web", UDP_ECHO)?;
    for (promise, line) in HOST {
        lab.until(promise, line, SOON)?;
    }
    let gateway = lab.guest("web", "ip -4 route show default")?;
    let gateway = gateway
        .split_whitespace()
        .nth(2)
        .context("web has no default route")?
        .to_owned();
    let web = lab.field("web", ".status.runtime.guestIp")?;
    let from_web = [
        ("NAT", FETCH.to_owned()),
        ("NAT", ELSEWHERE.to_owned()),
        ("NAT66", ipv6::FETCH.to_owned()),
        ("names in guests", "ping -c 1 -W 5 worker".to_owned()),
        ("names in guests", "ping -6 -c 1 -W 5 worker".to_owned()),
        (
            "services of the host are closed",
            format!("! curl -s --max-time 4 http://{gateway}:8099/"),
        ),
        (
            "nobody takes another address",
            format!(
                "ip address add 172.30.77.77/32 dev eth0; \
                 ping -c 1 -W 5 -I 172.30.77.77 {gateway}; said=$?; \
                 ip address delete 172.30.77.77/32 dev eth0; [ $said = 1 ]"
            ),
        ),
    ];
    let from_worker = [
        ("an egress policy", FETCH.to_owned()),
        ("an egress policy", format!("! {ELSEWHERE}")),
        ("an egress policy", format!("! {}", ipv6::FETCH)),
        ("an egress policy", format!("! ping -c 1 -W 4 {web}")),
    ];
    check(lab, "web", &from_web)?;
    check(lab, "worker", &from_worker)?;
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(list.contains("0 unowned, 0 missing"), "{list}");
    decoys::untouched(&lab.host)
}

/// By name, what the host's root sees of them.
const HOST: [(&str, &str); 6] = [
    (
        "names on the host",
        "getent ahostsv4 worker.vm >/dev/null && getent ahostsv6 worker.vm >/dev/null && resolvectl domain br-banger | grep -q '~vm$'",
    ),
    (
        "a published TCP port",
        "timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/8022; read -r line <&3; [[ $line == SSH-2.0-* ]]'",
    ),
    ("a published UDP port", UDP_ASK),
    (
        "the foreign account gets nothing",
        "! su stranger -c 'banger get vms' 2>/dev/null",
    ),
    ("warm taps", "cat /sys/class/net/*/ifalias | grep -qx pool"),
    (
        "both services are up, and the socket",
        "systemctl is-active --quiet bangerd banger-helper.socket bangerd.socket",
    ),
];

/// All lines in one login: what a guest does is quick, its logins aren't.
fn check(lab: &Lab, guest: &str, lines: &[(&str, String)]) -> Result<()> {
    let script: String = lines
        .iter()
        .map(|(promise, line)| {
            format!("( {line} ) >/dev/null 2>&1 || {{ echo 'broken: {promise}'; exit 1; }}\n")
        })
        .collect();
    lab.guest(guest, &script)?;
    Ok(())
}
