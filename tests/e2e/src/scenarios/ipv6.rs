//! Guests over IPv6: among themselves, beyond the host, and by name.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::network::is_unanswered;
use crate::lab::Lab;

/// The bridge's address, of an installation with the default subnet.
pub(super) const GATEWAY: &str = "fdba:ac1e:0:10::1";
pub(super) const FETCH: &str = "curl -s --connect-timeout 4 --max-time 20 'http://[2001:db8::2]/'";
/// The fake internet's IPv6 address and server, and a server of the host's own.
pub(super) const SERVERS: &str = "\
    ip address replace 2001:db8::1/64 dev internet0 nodad; \
    ip -n internet address replace 2001:db8::2/64 dev uplink nodad; \
    ip netns exec internet busybox httpd -p '[2001:db8::2]:80' -h /srv/internet || true; \
    busybox httpd -p '[::]:8098' -h /srv/internet || true";

pub(super) fn guests(lab: &mut Lab) -> Result<()> {
    lab.root(SERVERS)?;
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let address = |name: &str| lab.field(name, ".status.runtime.guestIp6");
    let (web, worker) = (address("web")?, address("worker")?);
    ensure!(
        web.starts_with("fdba:ac1e:0:10::") && web != worker,
        "the addresses are {web} and {worker}"
    );

    // Among themselves, by address and by name, and back from the address.
    lab.guest("web", &format!("ping -6 -c 1 -W 5 {worker}"))?;
    lab.guest("worker", &format!("ping -6 -c 1 -W 5 {web}"))?;
    let named = lab.guest("web", "getent ahostsv6 worker.vm")?;
    ensure!(named.contains(&worker), "worker.vm is {named:?}");
    let name = lab.guest("web", &format!("getent hosts {worker}"))?;
    ensure!(name.contains("worker.vm"), "{worker} is {name:?}");

    // Beyond the host, behind its address.
    let body = lab.guest("web", FETCH)?;
    ensure!(
        body.contains("the fake internet"),
        "through NAT66 it got {body:?}"
    );

    // Of the host itself the ping, and none of its services.
    let route = lab.guest("web", "ip -6 route")?;
    ensure!(
        route.contains(&format!("default via {GATEWAY} ")),
        "{route}"
    );
    lab.guest("web", &format!("ping -6 -c 1 -W 5 {GATEWAY}"))?;
    for host in [GATEWAY, "2001:db8::1"] {
        let line = format!("curl -sf --max-time 5 'http://[{host}]:8098/'");
        lab.root(&line)?;
        let refused = lab.ask_guest("web", &line)?;
        ensure!(
            is_unanswered(&refused),
            "the host's service at {host}: {refused:?}"
        );
    }

    // A borrowed address goes nowhere.
    let borrowed = format!("{}dead", web.trim_end_matches(|c: char| c != ':'));
    lab.guest(
        "web",
        &format!("ip -6 address add {borrowed}/64 dev eth0 nodad"),
    )?;
    for target in [worker.as_str(), "2001:db8::2"] {
        let line = format!("ping -6 -c 1 -W 5 -I {borrowed} {target}");
        let spoofed = lab.ask_guest("web", &line)?;
        ensure!(
            is_unanswered(&spoofed),
            "{target} and {borrowed}: {spoofed:?}"
        );
    }
    lab.guest("web", &format!("ip -6 address del {borrowed}/64 dev eth0"))?;
    lab.guest("web", &format!("ping -6 -c 1 -W 5 {worker}"))?;

    // An egress policy that names IPv4 alone allows nothing of IPv6; live.
    let edit = |spec: &str, what: &str, line: &str| -> Result<()> {
        lab.write_vm("worker.yaml", &Lab::document("worker", spec))?;
        lab.until(what, line, Duration::from_secs(60))
    };
    let confined = "nft list set inet banger confined6 | grep -q elements";
    edit(
        "network: {egress: {allow: [0.0.0.0/0]}}",
        "the policy is in the tables",
        confined,
    )?;
    for line in [FETCH.to_owned(), format!("ping -6 -c 1 -W 5 {web}")] {
        let beyond = lab.ask_guest("worker", &line)?;
        ensure!(is_unanswered(&beyond), "beyond its policy: {beyond:?}");
    }
    edit(
        "network: {egress: {allow: [\"2001:db8::/64\"]}}",
        "the network is in the tables",
        "nft list set inet banger egress6 | grep -q '2001:db8::/64'",
    )?;
    lab.guest("worker", FETCH)?;

    // Without NAT nothing beyond the host is reached.
    edit(
        "network: {nat: false}",
        "the policy and NAT are gone",
        &format!("! {confined} && ! nft list set inet banger guests6 | grep -q '{worker}'"),
    )?;
    let refused = lab.ask_guest("worker", FETCH)?;
    ensure!(is_unanswered(&refused), "without NAT: {refused:?}");
    lab.guest("worker", &format!("ping -6 -c 1 -W 5 {web}"))?;

    without(lab)?;
    lab.delete("worker")?;
    Ok(())
}

/// The host's IPv6 is switched off: guests go on with IPv4, and start with it alone.
fn without(lab: &Lab) -> Result<()> {
    let switch = |value: &str| -> Result<()> {
        lab.root(&format!(
            "sysctl -qw net.ipv6.conf.all.disable_ipv6={value}"
        ))?;
        Ok(())
    };
    let worker = lab.field("worker", ".status.runtime.guestIp")?;
    lab.owner("banger vm stop worker")?;
    switch("1")?;
    lab.owner("banger vm start worker")?;
    lab.ready("worker")?;
    for name in ["web", "worker"] {
        let address = lab.field(name, ".status.runtime.guestIp6")?;
        ensure!(address == "null", "{name} has {address}");
    }
    lab.root("! nft list set inet banger guests6")?;
    let own = lab.guest("worker", "ip -6 address show dev eth0 scope global")?;
    ensure!(own.is_empty(), "the guest has {own}");
    lab.guest("web", &format!("ping -c 1 -W 5 {worker}"))?;
    lab.guest(
        "web",
        "curl -s --connect-timeout 4 --max-time 20 http://198.51.100.2/",
    )?;
    lab.root(
        "banger doctor -o json | jq -e '.checks[] | select(.name == \"IPv6 of guests\") | \
         select(.verdict == \"warn\")'",
    )?;

    // And on again: who had an address has it again.
    switch("0")?;
    lab.until(
        "the guest has IPv6 again",
        "su owner -c 'banger get vm web -o json' | jq -e .status.runtime.guestIp6",
        Duration::from_secs(120),
    )?;
    lab.guest("web", &format!("ping -6 -c 1 -W 5 {GATEWAY}"))?;
    Ok(())
}
