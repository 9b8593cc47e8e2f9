//! What holds while VMs run, whatever the services or the host went through:
//! one look at each promise whose whole test is a scenario of its own.

mod mended;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::network::{
    ASKS, ASKS_OVER_TCP, ELSEWHERE, FETCH, SERVERS, UDP_ASK, UDP_ECHO, is_unanswered,
};
use super::{dns, hardening, ipv6, system};
use crate::{decoys, lab::Lab};

pub(super) use mended::mended;

const SOON: Duration = Duration::from_secs(60);

/// The tables, as text that is the same for two that say the same. Of the
/// other one's sets, a thousand seats each, only the definitions.
const TABLES: &str = "{ nft -j list table inet banger; nft -j -t list table bridge banger; } \
                      | jq -cSf ~owner/tables.jq";

/// `web`'s spec, with NAT or without, and the file of the owner's that it is given.
fn web(nat: bool, file: &str) -> String {
    format!(
        "network: {{nat: {nat}, ports: [{{host: 8022, guest: 22}}, \
         {{host: 5353, guest: 5300, protocol: udp}}, \
         {{host: 8023, guest: 22, address: 0.0.0.0}}]}}\n\
         fileSync: [{{source: {file}, path: /etc/kept}}]"
    )
}

const CONFIG: &str = ".config/banger/config.toml";
/// Taps are made two at a time.
const POOL: &str = "[pool]\nmaxConcurrentTapWarmup = 2\n";

/// Gives `web` and `worker` what the promises are about; both keep running, and
/// whatever starts does so among programs of the owner's that only look like
/// root's. A third VM is off. Once the daemon has begun anew, guests are apart.
pub(super) fn make(lab: &Lab) -> Result<()> {
    lab.owner("echo kept > ~/kept")?;
    lab.owner(system::FAKES)?;
    lab.vm("web", &web(true, "~/kept"))?;
    lab.vm("worker", "network: {egress: {allow: [198.51.100.0/24]}}")?;
    lab.write_vm(
        "idle.yaml",
        &Lab::document(
            "idle",
            "runPolicy: Halted\nterminationGracePeriodSeconds: 1",
        ),
    )?;
    lab.until(
        "the VM that doesn't run is known",
        "su owner -c 'banger get vm idle' >/dev/null",
        SOON,
    )?;
    lab.until(
        "the policy is in the tables",
        "nft list table inet banger | grep -q 198.51.100.0/24",
        SOON,
    )?;
    lab.write("tables.jq", include_str!("promises/tables.jq"))?;
    lab.root(&format!(
        "{TABLES} > /root/tables && grep -q masquerade /root/tables"
    ))?;
    lab.write(CONFIG, &format!("[network]\nguestToGuest = false\n{POOL}"))?;
    // Down to the disk: a power cut is one of the things that come.
    lab.root("sync")?;
    Ok(())
}

/// The guests are apart, as the configuration says, and may come together again
/// at the daemon's next start.
pub(super) fn apart(lab: &Lab) -> Result<()> {
    lab.ready("web")?;
    lab.ready("worker")?;
    lab.until(
        "the guests are apart",
        "nft list chain bridge banger crossing | grep -q drop",
        SOON,
    )?;
    let worker = lab.field("worker", ".status.runtime.guestIp")?;
    let near = lab.ask_guest("web", &format!("ping -c 1 -W 3 {worker}"))?;
    ensure!(is_unanswered(&near), "broken: guests apart: {near:?}");
    lab.write(CONFIG, POOL)
}

/// All of them hold.
pub(super) fn hold(lab: &Lab) -> Result<()> {
    // The socket stays, and whoever speaks to it starts the daemon. What others
    // may rely on stays, too; what leads to the daemon's own server doesn't.
    lab.root(
        "systemctl stop bangerd && ! systemctl is-active --quiet bangerd && \
         ! resolvectl domain br-banger | grep -q '~vm' && grep -qx 1 /proc/sys/net/ipv4/ip_forward && \
         su owner -c 'banger get vms' && systemctl is-active --quiet bangerd",
    )
    .context("broken: socket activation, or what is left at the daemon's end")?;
    lab.ready("web")?;
    lab.ready("worker")?;
    lab.write("ask.pl", dns::ASK)?;
    lab.write("internet.pl", dns::INTERNET)?;
    lab.write("helper.pl", include_str!("promises/helper.pl"))?;
    lab.root(SERVERS)?;
    lab.root(ipv6::SERVERS)?;
    lab.root(dns::SERVED)?;
    lab.guest("web", UDP_ECHO)?;
    for (promise, line) in HOST {
        lab.until(promise, line, SOON)?;
    }
    lab.until("the tables are as they were", &same_tables(), SOON)?;
    hardening::scores(lab)?;
    from_guests(lab)?;
    lab.root(dns::SERVED_NO_MORE)?;
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(list.contains("0 unowned, 0 missing"), "{list}");
    decoys::untouched(&lab.host)
}

fn same_tables() -> String {
    format!("{TABLES} | cmp -s - /root/tables")
}

/// What a VMM may take, read from its control group, and the account that it
/// has: one of the installation's range, and of no other VM. It is in a jail.
const LIMITS: &str = "( base=$(sed -n 's/^uidBase *= *//p' /etc/banger/install.toml); \
    slots=$(sed -n 's/^slots *= *//p' /etc/banger/install.toml); seen=; \
    for name in web worker; do \
      set -- $(su owner -c \"banger get vm $name -o json\" \
        | jq -r '[.metadata.uid, .status.handles.pid, .spec.vcpus] | @tsv'); \
      [ \"$(systemctl show -P Slice banger-vm-$1.service)\" = banger.slice ] || exit 1; \
      [ -e /proc/$2/root/dev/kvm ] && [ ! -e /proc/$2/root/etc ] || exit 1; \
      group=$(systemctl show -P ControlGroup banger-vm-$1.service); \
      grep -q \"$group\" /proc/$2/cgroup || exit 1; cd /sys/fs/cgroup$group || exit 1; \
      [ \"$(cat memory.max)\" = $(((256 + 128) << 20)) ] || exit 1; \
      [ \"$(cat cpu.max)\" = \"$(($3 * 100000 + 50000)) 100000\" ] || exit 1; \
      [ \"$(cat pids.max)\" = $(($3 + 16)) ] || exit 1; \
      uid=$(awk '/^Uid:/ {print ($3 == $2 && $4 == $2 && $5 == $2) ? $2 : 0}' /proc/$2/status); \
      [ $uid -ge $base ] && [ $uid -lt $((base + slots)) ] && [ \"$uid\" != \"$seen\" ] || exit 1; \
      seen=$uid; \
    done )";

/// What root can read of `worker`'s, the account of `web`'s VMM can't; and udev
/// believes nothing of what is on either, though there are file systems.
const DISKS: &str = "( of() { su owner -c \"banger get vm $1 -o json\" | jq -r \"$2\"; }; \
    vmm=$(awk '/^Uid:/ {print $2}' /proc/$(of web .status.handles.pid)/status); \
    as() { setpriv --reuid $vmm --regid $vmm --clear-groups \"$@\"; }; as true || exit 1; \
    set -- $(of worker '.status.handles.dmDevice, .status.handles.cowLoop, .status.handles.baseLoop'); \
    for disk in /var/lib/banger/vms/$(of worker .metadata.uid)/root.cow $1 $2; do \
      head -c 1 $disk >/dev/null && ! as head -c 1 $disk >/dev/null 2>&1 || exit 1; \
    done; \
    udevadm info -q property $1 | grep -qx UDISKS_IGNORE=1 || exit 1; \
    for disk in $1 $3; do \
      [ \"$(blkid -p -o value -s TYPE $disk)\" = ext4 ] && \
        ! udevadm info -q property $disk | grep -q ^ID_FS_ || exit 1; \
    done )";

/// The daemon is the owner's and has no privilege, the helper has not all of
/// root's; neither writes the system, nor the one the home that the other can't
/// even see.
const SANDBOXES: &str = "( systemctl start banger-helper; \
    daemon=$(systemctl show -P MainPID bangerd); helper=$(systemctl show -P MainPID banger-helper); \
    of() { awk -v field=$2: '$1 == field {print $2}' /proc/$1/status; }; \
    [ $(of $daemon Uid) = $(id -u owner) ] && [ $(of $helper Uid) = 0 ] && \
      [ $(of $daemon CapBnd) = 0000000000000000 ] && \
      [ $(of $helper CapBnd) != $(of 1 CapBnd) ] || exit 1; \
    for pid in $daemon $helper; do \
      [ $(of $pid NoNewPrivs) = 1 ] && [ $(of $pid Seccomp) = 2 ] && nsenter -m -t $pid true && \
        ! nsenter -m -t $pid touch /usr/lib/probe 2>/dev/null || exit 1; \
    done; \
    ! nsenter -m -t $daemon touch ~owner/probe 2>/dev/null && \
      ! nsenter -m -t $helper ls ~owner/.config 2>/dev/null )";

/// Its exit status says that nothing fails. The second list is of what a host
/// may have otherwise: a verdict of it is enough.
const DOCTOR: &str = r#"banger doctor -o json > /run/doctor.json && jq -e '
    (.checks | map({(.name): .}) | add) as $of |
    (["KVM", "device-mapper", "loop", "tun", "nft", "dmsetup", "systemd-resolved", "firewall",
      "iptables-legacy", "IPv6 of guests", "firecracker", "jailer", "bangerd", "banger-helper",
      "sockets of VMs", "daemon", "helper", "bangerd.service", "bangerd.socket",
      "banger-helper.service", "banger-helper.socket", "Landlock", "names of VMs", "images",
      "disk pressure", "leftovers", "running VMs", "tap pool"]
      | all($of[.].verdict == "pass")) and
    (["systemd", "cgroup v2", "kernel modules", "disk space", "file system", "work seeds",
      "clock source", "SMT", "KSM", "swap", "limits"] | all($of[.] != null)) and
    ($of["KVM"].message | contains("ran")) and
    ($of["tap pool"].message | test("^[4-8] warm, 2 in use, [0-9]+ created, 0 failed$"))' \
    /run/doctor.json >/dev/null"#;

/// Once all of them have had an answer, those that watch and those that ask without
/// an end, one asks now and then. Ending them by their pids tells that they were
/// there until then.
const CROWD: &str = "su owner -c 'cd $(mktemp -d) || exit 1; pids=; said=0; \
    for n in 1 2 3 4 5 6 7 8; do banger get vms -w > $n & pids=\"$pids $!\"; done; \
    for n in 9 10; do while :; do banger diff; echo; done > $n & pids=\"$pids $!\"; done; \
    for n in $(seq 10); do until [ -s $n ]; do sleep 0.1; done; done; \
    for _ in 1 2 3; do timeout 10 banger get vms >/dev/null || said=1; done; \
    for pid in $pids; do kill $pid || said=1; done; wait; exit $said'";

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
        // Not by a rule of the tables.
        "the daemon passes on what comes to published ports",
        "ss -Hltnp 'sport = :8022' | grep -q '127.0.0.1:8022 .*\"bangerd\"' && \
         ss -Hlunp 'sport = :5353' | grep -q '127.0.0.1:5353 .*\"bangerd\"'",
    ),
    (
        // The host's own server is reached from there.
        "ports are published on 127.0.0.1 alone, unless the spec says otherwise",
        "ask() { timeout 5 ip netns exec internet bash -c \"exec 3<>/dev/tcp/198.51.100.1/$1\"; }; \
         ask 8099 2>/dev/null && ! ask 8022 2>/dev/null && ask 8023",
    ),
    (
        "the host forwards",
        "grep -qx 1 /proc/sys/net/ipv4/ip_forward && grep -qx 1 /proc/sys/net/ipv6/conf/all/forwarding",
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
        "only what runs has a name",
        "su owner -c 'banger get vm idle -o json' | jq -e '.status.handles.pid == null' >/dev/null && \
         su owner -c 'perl ~/ask.pl 172.30.0.1 idle.vm A' | grep -qx NXDOMAIN",
    ),
    (
        "other names are forwarded",
        "getent ahostsv4 www.example | grep -q 198.51.100.2",
    ),
    (
        "addresses of guests have their names",
        "name() { set -- $(echo $1 | tr . ' '); \
           su owner -c \"perl ~/ask.pl 172.30.0.1 $4.$3.$2.$1.in-addr.arpa PTR\"; }; \
         name $(su owner -c 'banger get vm worker -o json' | jq -r .status.runtime.guestIp) \
           | grep -qx NOERROR && name 172.30.77.77 | grep -qx NXDOMAIN",
    ),
    (
        // Nobody has to be kept from that but guests.
        "the host is told what points inside",
        "getent ahostsv4 inside.example | grep -q 172.30.0.2",
    ),
    (
        // As a host without systemd-resolved does.
        "the host may ask the server for other names",
        "su owner -c 'perl ~/ask.pl 172.30.0.1 www.example A' | grep -qx 'NOERROR 198.51.100.2'",
    ),
    ("a VMM's limits and account", LIMITS),
    (
        "what runs is the Firecracker that was installed",
        "( [ -x ~owner/bin/firecracker ] && [ -x /var/lib/banger/firecracker ] || exit 1; \
           for name in web worker; do \
             pid=$(su owner -c \"banger get vm $name -o json\" | jq .status.handles.pid); \
             cmp /proc/$pid/exe /usr/lib/banger/firecracker || exit 1; \
           done )",
    ),
    ("disks are their VM's alone", DISKS),
    ("the sandboxes stand", SANDBOXES),
    (
        "an older and a newer daemon are understood",
        "perl ~owner/helper.pl 1 0 inventory | grep '\"taps\"' | grep -qv '\"pool\"' && \
         perl ~owner/helper.pl 1 99 inventory | grep -q '\"pool\"' && \
         perl ~owner/helper.pl 2 0 | grep -q 'from one version' && \
         perl ~owner/helper.pl 1 0 run | grep -q '\"result\":\"error\"'",
    ),
    (
        // Step by step, and what root did for it, by its uid.
        "the journal tells of one VM",
        "journalctl -b -u bangerd VM=web OP=create -o json \
           | jq -es 'any(.STAGE == \"starting Firecracker\")' >/dev/null && \
         journalctl -b -u banger-helper OP=start-vmm -o cat \
           VM=$(su owner -c 'banger get vm web -o json' | jq -r .metadata.uid) | grep -q changed",
    ),
    (
        // What each daemon does for a VM that it finds, and what it has root do.
        "the journal tells of those that run now",
        "of() { echo _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID $1); }; \
         journalctl $(of bangerd) VM=web STAGE='publishing ports' -o cat | grep -q . && \
         journalctl $(of banger-helper) OP=ensure-dns -o cat | grep -qx changed",
    ),
    ("nobody waits for somebody else's requests", CROWD),
    (
        "the key to guests is the owner's alone",
        "[ \"$(stat -c '%U %a' ~owner/.local/state/banger/ssh/id_ed25519)\" = 'owner 600' ] && \
         ! find /var/lib/banger -type f -size -64k -exec grep -l 'PRIVATE KEY' {} + | grep .",
    ),
    (
        "state and sockets are in their places",
        "[ \"$(stat -c '%U %a' /var/lib/banger /run/banger | xargs)\" = 'owner 700 root 755' ]",
    ),
    ("the doctor is content, with the programs too", DOCTOR),
    (
        "the foreign account gets nothing",
        "! su stranger -c 'banger get vms' 2>/dev/null",
    ),
    (
        "warm taps, on the bridge",
        "warm=0; for tap in /sys/class/net/*; do \
           [ \"$(cat $tap/ifalias 2>/dev/null)\" = pool ] && \
           [ \"$(basename \"$(readlink $tap/master)\")\" = br-banger ] && warm=$((warm + 1)); \
         done; [ $warm -ge 4 ] && [ $warm -le 8 ]",
    ),
    (
        "both services are up, and the socket",
        "systemctl is-active --quiet bangerd banger-helper.socket bangerd.socket",
    ),
    (
        // Fed once more since its start.
        "the daemon's watchdog is fed",
        "[ \"$(systemctl show -P WatchdogUSec bangerd)\" = 30s ] && \
         [ $(systemctl show -P WatchdogTimestampMonotonic bangerd) -gt \
           $(systemctl show -P ActiveEnterTimestampMonotonic bangerd) ]",
    ),
    (
        "the helper's is, too",
        "[ \"$(systemctl show -P WatchdogUSec banger-helper)\" = 1min ] && \
         [ $(systemctl show -P WatchdogTimestampMonotonic banger-helper) -gt \
           $(systemctl show -P ActiveEnterTimestampMonotonic banger-helper) ]",
    ),
];

/// A unique local network (RFC 4193) that is nobody's here.
const FOREIGN: &str = "fd00:bad";

/// What the guests see of them.
fn from_guests(lab: &Lab) -> Result<()> {
    let gateway = lab.guest("web", "ip -4 route show default")?;
    let gateway = gateway
        .split_whitespace()
        .nth(2)
        .context("web has no default route")?
        .to_owned();
    let gateway6 = ipv6::GATEWAY;
    let web = lab.field("web", ".status.runtime.guestIp")?;
    let worker = lab.field("worker", ".status.runtime.guestIp")?;
    let closed = "services of the host are closed";
    let (here, here6) = (
        format!("curl -s --max-time 4 http://{gateway}:8099/"),
        format!("curl -s --max-time 4 'http://[{gateway6}]:8098/'"),
    );
    lab.root(&format!("({here} && {here6}) >/dev/null"))
        .context("the host has no services that could be closed")?;
    // Whoever took an address of that network would get an answer.
    lab.root(&format!("ip -6 route replace {FOREIGN}::/64 dev br-banger"))?;
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
            "answers that point inside are dropped",
            "getent ahostsv4 evil.example; [ $? = 2 ]".to_owned(),
        ),
        (
            "answers that point inside are dropped",
            "getent ahostsv4 inside.example; [ $? = 2 ]".to_owned(),
        ),
        // What an egress policy keeps from others.
        ("names in guests", ASKS.to_owned()),
        ("names in guests, over TCP", ASKS_OVER_TCP.to_owned()),
        ("strange questions harm nobody", dns::STRANGE.to_owned()),
        (
            "strange questions harm nobody",
            format!("getent ahostsv4 worker.vm | grep -q {worker}"),
        ),
        (
            "a file of the owner",
            "for _ in 1 2 3 4 5 6 7 8 9 10; do grep -qx kept /etc/kept && exit 0; sleep 1; done; \
             exit 1"
                .to_owned(),
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
            "nobody takes another address, over IPv6",
            format!(
                "ping -6 -c 1 -W 5 {gateway6} || exit 1; \
                 for other in {FOREIGN}::77 {}7777; do \
                   ip -6 address add $other/128 dev eth0 nodad; \
                   ping -6 -c 1 -W 3 -I $other {gateway6}; said=$?; \
                   ip -6 address delete $other/128 dev eth0; [ $said = 1 ] || exit 1; \
                 done",
                gateway6.trim_end_matches('1')
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
    let from_worker = [("an egress policy", FETCH.to_owned())];
    let beyond = [
        ("an egress policy, over IPv4", ELSEWHERE.to_owned()),
        ("an egress policy, over IPv6", ipv6::FETCH.to_owned()),
        (
            "an egress policy, among guests",
            format!("ping -c 1 -W 4 {web}"),
        ),
        ("an egress policy, by DNS", ASKS.to_owned()),
        (
            "an egress policy, by DNS over TCP",
            ASKS_OVER_TCP.to_owned(),
        ),
    ];
    check(lab, "web", &from_web, &[(closed, here), (closed, here6)])?;
    check(lab, "worker", &from_worker, &beyond)?;
    lab.root(&format!("ip -6 route delete {FOREIGN}::/64 dev br-banger"))?;
    Ok(())
}

/// All lines in one login: what a guest does is quick, its logins aren't. Those
/// that nobody is to answer come last, and wait together.
fn check(
    lab: &Lab,
    guest: &str,
    lines: &[(&str, String)],
    unanswered: &[(&str, String)],
) -> Result<()> {
    let mut script: String = lines
        .iter()
        .map(|(promise, line)| {
            format!("( {line} ) >/dev/null 2>&1 || {{ echo 'broken: {promise}'; exit 1; }}\n")
        })
        .collect();
    script += "answered=$(\n";
    for (promise, line) in unanswered {
        script += &format!("( {line} ) >/dev/null 2>&1 && echo 'broken: {promise}' &\n");
    }
    script += "wait )\n[ -z \"$answered\" ] || { echo \"$answered\"; exit 1; }\n";
    lab.guest(guest, &script)?;
    Ok(())
}
