//! What holds while VMs run, whatever the services or the host went through:
//! one look at each promise whose whole test is a scenario of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::network::{ELSEWHERE, FETCH, SERVERS, UDP_ASK, UDP_ECHO};
use super::{dns, hardening, ipv6};
use crate::{decoys, lab::Lab};

const SOON: Duration = Duration::from_secs(60);

/// Gives `web` and `worker` what the promises are about; both keep running.
pub(super) fn make(lab: &Lab) -> Result<()> {
    // Down to the disk: a power cut is one of the things that come.
    lab.owner("echo kept > ~/kept && sync ~/kept")?;
    lab.vm(
        "web",
        "network: {ports: [{host: 8022, guest: 22}, {host: 5353, guest: 5300, protocol: udp}]}\n\
         fileSync: [{source: ~/kept, path: /etc/kept}]",
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
    // The socket stays, and whoever speaks to it starts the daemon.
    lab.root(
        "systemctl stop bangerd && ! systemctl is-active --quiet bangerd && \
         su owner -c 'banger get vms' && systemctl is-active --quiet bangerd",
    )
    .context("broken: socket activation")?;
    lab.ready("web")?;
    lab.ready("worker")?;
    lab.write("ask.pl", dns::ASK)?;
    lab.write("internet.pl", dns::INTERNET)?;
    lab.root(SERVERS)?;
    lab.root(ipv6::SERVERS)?;
    lab.root(NAMES)?;
    lab.guest("web", UDP_ECHO)?;
    for (promise, line) in HOST {
        lab.until(promise, line, SOON)?;
    }
    hardening::scores(lab)?;
    let gateway = lab.guest("web", "ip -4 route show default")?;
    let gateway = gateway
        .split_whitespace()
        .nth(2)
        .context("web has no default route")?
        .to_owned();
    let web = lab.field("web", ".status.runtime.guestIp")?;
    let worker = lab.field("worker", ".status.runtime.guestIp")?;
    let from_web = [
        ("NAT", FETCH.to_owned()),
        ("NAT", ELSEWHERE.to_owned()),
        ("NAT66", ipv6::FETCH.to_owned()),
        ("names in guests", "ping -c 1 -W 5 worker".to_owned()),
        ("names in guests", "ping -6 -c 1 -W 5 worker".to_owned()),
        (
            "names of addresses",
            format!("getent hosts {worker} | grep -q worker.vm"),
        ),
        (
            "names that nobody has",
            "getent hosts nobody.vm; [ $? = 2 ]".to_owned(),
        ),
        (
            "other names are forwarded",
            "getent ahostsv4 www.example | grep -q 198.51.100.2".to_owned(),
        ),
        (
            "a file of the owner",
            "for _ in 1 2 3 4 5 6 7 8 9 10; do grep -qx kept /etc/kept && exit 0; sleep 1; done; \
             exit 1"
                .to_owned(),
        ),
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
        (
            // Asked anew where the gateway is, the host would learn of the MAC.
            "nobody takes another MAC",
            format!(
                "mac=$(cat /sys/class/net/eth0/address); \
                 ip link set eth0 address 02:ba:de:ad:be:ef && ip neigh flush dev eth0 && \
                 {{ ping -c 1 -W 3 {gateway}; said=$?; }}; ip link set eth0 address $mac; \
                 ip neigh flush dev eth0; [ $said = 1 ] && ping -c 2 -W 5 {gateway}"
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
    lab.root("systemctl stop fake-names && resolvectl revert internet0")?;
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(list.contains("0 unowned, 0 missing"), "{list}");
    decoys::untouched(&lab.host)
}

/// A server of names in the fake internet, and the host asks it.
const NAMES: &str = "\
    systemctl is-active --quiet fake-names || systemd-run --quiet --unit fake-names \
      -p NetworkNamespacePath=/run/netns/internet perl /home/owner/internet.pl 198.51.100.2; \
    resolvectl dns internet0 198.51.100.2 && resolvectl domain internet0 '~.'";

/// What a VMM may take, read from its control group, and the account that it
/// has: one of the installation's range, and of no other VM.
const LIMITS: &str = "( base=$(sed -n 's/^uidBase *= *//p' /etc/banger/install.toml); \
    slots=$(sed -n 's/^slots *= *//p' /etc/banger/install.toml); seen=; \
    for name in web worker; do \
      set -- $(su owner -c \"banger get vm $name -o json\" \
        | jq -r '[.metadata.uid, .status.handles.pid, .spec.vcpus] | @tsv'); \
      group=$(systemctl show -P ControlGroup banger-vm-$1.service); \
      grep -q \"$group\" /proc/$2/cgroup || exit 1; cd /sys/fs/cgroup$group || exit 1; \
      [ \"$(cat memory.max)\" = $(((256 + 128) << 20)) ] || exit 1; \
      [ \"$(cat cpu.max)\" = \"$(($3 * 100000 + 50000)) 100000\" ] || exit 1; \
      [ \"$(cat pids.max)\" = $(($3 + 16)) ] || exit 1; \
      uid=$(awk '/^Uid:/ {print ($3 == $2 && $4 == $2 && $5 == $2) ? $2 : 0}' /proc/$2/status); \
      [ $uid -ge $base ] && [ $uid -lt $((base + slots)) ] && [ \"$uid\" != \"$seen\" ] || exit 1; \
      seen=$uid; \
    done )";

/// By name, what the host's root sees of them.
const HOST: &[(&str, &str)] = &[
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
        // The host's own server is reached from there.
        "ports are published on 127.0.0.1 alone",
        "ask() { timeout 5 ip netns exec internet bash -c \"exec 3<>/dev/tcp/198.51.100.1/$1\"; }; \
         ask 8099 2>/dev/null && ! ask 8022 2>/dev/null",
    ),
    (
        "names are for the host and for guests",
        "su owner -c 'perl ~/ask.pl 172.30.0.1 worker.vm A' | grep -q NOERROR && \
         su owner -c 'perl ~/ask.pl 172.30.0.1 nobody.vm A' | grep -qx NXDOMAIN && \
         ip -n internet route replace 172.30.0.1 via 198.51.100.1 && \
         ! timeout 3 ip netns exec internet perl /home/owner/ask.pl 172.30.0.1 worker.vm A 2>/dev/null \
           | grep -q NOERROR && \
         ip -n internet route delete 172.30.0.1",
    ),
    (
        "other names are forwarded",
        "getent ahostsv4 www.example | grep -q 198.51.100.2",
    ),
    ("a VMM's limits and account", LIMITS),
    (
        // Its exit status says that nothing fails.
        "the doctor is content, with the programs too",
        "banger doctor -o json > /run/doctor.json && \
         jq -e '[.checks[] | select(.name | IN(\"firecracker\", \"jailer\", \"bangerd\", \
         \"banger-helper\")) | .verdict] == [\"pass\", \"pass\", \"pass\", \"pass\"]' \
         /run/doctor.json >/dev/null",
    ),
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
