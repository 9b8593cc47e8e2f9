//! Guests among themselves, and beyond the host.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{Output, lab::Lab};

pub(super) const FETCH: &str = "curl -s --connect-timeout 4 --max-time 20 http://198.51.100.2/";

/// Whether this is ping's or curl's word for nobody who answers. A login that
/// fails ends with 255, or with an error of banger's.
pub(super) fn is_unanswered(output: &Output) -> bool {
    [1, 7, 28].contains(&output.status) && !output.stderr.contains("error: ")
}

pub(super) fn guests_and_nat(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.vm("worker", "network: {nat: false}")?;
    let address = |name: &str| lab.field(name, ".status.runtime.guestIp");
    lab.guest("web", &format!("ping -c 1 -W 5 {}", address("worker")?))?;
    lab.guest("worker", &format!("ping -c 1 -W 5 {}", address("web")?))?;

    let body = lab.guest("web", FETCH)?;
    ensure!(
        body.contains("the fake internet"),
        "through NAT it got {body:?}"
    );
    let refused = lab.ask_guest("worker", FETCH)?;
    ensure!(is_unanswered(&refused), "without NAT: {refused:?}");

    // And live: the same guest is let out without a restart.
    let pid = lab.pid("worker")?;
    lab.write_vm(
        "worker.yaml",
        &Lab::document("worker", "network: {nat: true}"),
    )?;
    lab.until(
        "NAT for the second guest",
        "su owner -c 'banger get vm worker -o json' | jq -e '.spec.network.nat' >/dev/null",
        Duration::from_secs(30),
    )?;
    lab.owner("banger wait --for=condition=Ready vm/worker --timeout 60s")?;
    let body = lab.guest(
        "worker",
        &format!("for _ in 1 2 3 4 5; do {FETCH} && exit 0; sleep 1; done; exit 1"),
    )?;
    ensure!(
        body.contains("the fake internet"),
        "after the edit it got {body:?}"
    );
    ensure!(lab.pid("worker")? == pid, "a live change restarted the VM");
    lab.delete("worker")?;
    Ok(())
}

/// Beyond the host, too, but in another network than `FETCH`.
pub(super) const ELSEWHERE: &str = "curl -s --connect-timeout 4 --max-time 20 http://203.0.113.2/";
/// A server in the fake internet's second network, and one of the host's own.
pub(super) const SERVERS: &str = "\
    ip -n internet address replace 203.0.113.2/24 dev lo; ip -n internet link set lo up; \
    ip netns exec internet busybox httpd -p 203.0.113.2:80 -h /srv/internet || true; \
    busybox httpd -p 0.0.0.0:8099 -h /srv/internet || true";

pub(super) fn policies(lab: &mut Lab) -> Result<()> {
    lab.root(SERVERS)?;
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let (web, worker) = (
        lab.field("web", ".status.runtime.guestIp")?,
        lab.field("worker", ".status.runtime.guestIp")?,
    );
    let pid = lab.pid("worker")?;
    lab.guest("worker", FETCH)?;
    lab.guest("worker", ELSEWHERE)?;

    // The host shows its ping and nothing else, on no address of its own.
    let gateway = lab.guest(
        "worker",
        "ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'",
    )?;
    let gateway = gateway.trim();
    lab.guest("worker", &format!("ping -c 1 -W 5 {gateway}"))?;
    for address in [gateway, "198.51.100.1"] {
        lab.root(&format!("curl -sf --max-time 5 http://{address}:8099/"))?;
        let line = format!("curl -s --connect-timeout 3 --max-time 5 http://{address}:8099/");
        let refused = lab.ask_guest("worker", &line)?;
        ensure!(
            is_unanswered(&refused),
            "the host's service at {address}: {refused:?}"
        );
    }

    // An egress policy, live.
    let policy = |allow: &str| format!("network: {{egress: {{allow: [{allow}]}}}}");
    let edit = |lab: &Lab, spec: &str, allowed: &str| -> Result<()> {
        lab.write_vm("worker.yaml", &Lab::document("worker", spec))?;
        lab.until(
            "the policy is in the tables",
            &format!("nft list table inet banger | grep -q '{allowed}'"),
            Duration::from_secs(60),
        )
    };
    edit(lab, &policy("198.51.100.0/24"), "198.51.100.0/24")?;
    lab.guest("worker", FETCH)?;
    for line in [ELSEWHERE.to_owned(), format!("ping -c 1 -W 5 {web}")] {
        let beyond = lab.ask_guest("worker", &line)?;
        ensure!(is_unanswered(&beyond), "beyond its policy: {beyond:?}");
    }
    lab.guest("web", ELSEWHERE)?;
    // Who asks the guest is answered.
    lab.guest("web", &format!("ping -c 1 -W 5 {worker}"))?;
    edit(
        lab,
        &policy(&format!("203.0.113.0/24, {web}/32")),
        "203.0.113.0/24",
    )?;
    lab.guest("worker", ELSEWHERE)?;
    lab.guest("worker", &format!("ping -c 1 -W 5 {web}"))?;
    let before = lab.ask_guest("worker", FETCH)?;
    ensure!(
        is_unanswered(&before),
        "a former policy still holds: {before:?}"
    );
    lab.write_vm("worker.yaml", &Lab::document("worker", ""))?;
    lab.until(
        "the policy is gone",
        "! nft list table inet banger | grep -q 203.0.113.0/24",
        Duration::from_secs(60),
    )?;

    // Guests apart, by the configuration.
    let restart = |lab: &Lab, config: &str| -> Result<()> {
        lab.write(".config/banger/config.toml", config)?;
        lab.root("systemctl restart bangerd")?;
        lab.owner("banger wait --for=condition=Ready vm/worker --timeout 120s")?;
        Ok(())
    };
    let warm = |least: u8, most: u8| {
        format!(
            "warm=$(cat /sys/class/net/*/ifalias 2>/dev/null | grep -cx pool); \
             [ $warm -ge {least} ] && [ $warm -le {most} ]"
        )
    };
    restart(lab, "[network]\nguestToGuest = false\n[pool]\ntaps = 1\n")?;
    lab.until(
        "the guests are apart",
        "nft list chain bridge banger crossing | grep -q drop",
        Duration::from_secs(60),
    )?;
    let near = lab.ask_guest("web", &format!("ping -c 1 -W 5 {worker}"))?;
    ensure!(
        is_unanswered(&near),
        "guests that are apart reached each other: {near:?}"
    );
    lab.guest("worker", FETCH)?;
    lab.until("one or two are warm", &warm(1, 2), Duration::from_secs(60))?;
    restart(lab, "")?;
    lab.until("four to eight are", &warm(4, 8), Duration::from_secs(60))?;
    lab.until(
        "the guests are together",
        "! nft list chain bridge banger crossing | grep -q drop",
        Duration::from_secs(60),
    )?;
    lab.guest("web", &format!("ping -c 1 -W 5 {worker}"))?;
    ensure!(lab.pid("worker")? == pid, "a live change restarted the VM");
    lab.delete("worker")?;
    lab.root("rm ~owner/.config/banger/config.toml")?;
    Ok(())
}

/// A guest's server at port 5300 that says what it was told, and the host's
/// question to it by the published port 5353.
pub(super) const UDP_ECHO: &str = "setsid perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Proto => \"udp\", \
    LocalPort => 5300) or die; while ($s->recv($d, 1500)) { $s->send(\"got $d\") }' \
    >/dev/null 2>&1 </dev/null &";
pub(super) const UDP_ASK: &str = "timeout 10 perl -MIO::Socket::INET -e '\
    $s = IO::Socket::INET->new(Proto => \"udp\", PeerAddr => \"127.0.0.1:5353\") or die; \
    $s->send(\"ping\"); $s->recv($d, 1500); exit($d ne \"got ping\")'";

/// The guest's question for `web.vm` to the server that it was given.
pub(super) const ASKS: &str = r#"timeout 5 perl -MIO::Socket::INET -e '
    $s = IO::Socket::INET->new(Proto => "udp", PeerAddr => "172.30.0.1:53") or die;
    $s->send("\0\1\1\0\0\1\0\0\0\0\0\0\3web\2vm\0\0\1\0\1");
    $s->recv($d, 512); exit(length($d) < 30)'"#;

/// The same over TCP, where its length comes first.
pub(super) const ASKS_OVER_TCP: &str = r#"timeout 5 perl -MIO::Socket::INET -e '
    $s = IO::Socket::INET->new(Proto => "tcp", PeerAddr => "172.30.0.1:53") or die;
    print $s pack("n/a", "\0\1\1\0\0\1\0\0\0\0\0\0\3web\2vm\0\0\1\0\1"); $s->flush;
    read($s, $d, 2) == 2 or die; read($s, $d, unpack("n", $d)); exit(length($d) < 30)'"#;

/// In the way of guests beyond the host, at its DNS server, and of what the host
/// has to tell them over IPv6.
const FIREWALL: &str = "\
table ip filter {
  chain FORWARD { type filter hook forward priority 0; policy drop; }
  chain INPUT { type filter hook input priority 0; iifname br-banger udp dport 53 drop; }
}
table ip6 filter {
  chain FORWARD { type filter hook forward priority 0; policy drop; }
  chain OUTPUT { type filter hook output priority 0; policy drop; }
}
";

pub(super) fn udp_and_firewalls(lab: &mut Lab) -> Result<()> {
    // Firewalls change without a word to the daemon.
    lab.look_often()?;
    lab.vm(
        "web",
        "network: {ports: [{host: 5353, guest: 5300, protocol: udp}]}",
    )?;
    lab.owner("banger wait --for=condition=NetworkReady vm/web --timeout 120s")?;
    lab.guest("web", UDP_ECHO)?;
    lab.until(
        "the guest answers at the published port",
        UDP_ASK,
        Duration::from_secs(30),
    )?;

    // Somebody's firewall comes into the way, all of it at once, and goes.
    lab.root(&format!("nft -f - <<'EOF'\n{FIREWALL}EOF"))?;
    let network = |status: &str| {
        format!(
            "su owner -c 'banger get vm web -o json' | jq -e '.status.conditions[] | \
             select(.type == \"NetworkReady\" and .status == \"{status}\")'"
        )
    };
    let soon = Duration::from_secs(120);
    lab.until("the firewall is told", &network("False"), soon)?;
    let told = lab.owner("banger describe vm web")?;
    ensure!(told.contains("nft insert rule ip filter FORWARD"), "{told}");
    let refused = lab.ask_guest("web", FETCH)?;
    ensure!(
        is_unanswered(&refused),
        "the firewall isn't in the way: {refused:?}"
    );
    let asks = lab.ask_guest("web", ASKS)?;
    ensure!(asks.status != 0, "the firewall isn't in the way of names");
    // What it says to add is enough: two ways, over two protocols, the host's DNS,
    // and what the host says to guests.
    let told = lab.field(
        "web",
        ".status.conditions[] | select(.type == \"NetworkReady\").message",
    )?;
    let add = |line: &'_ str| -> Option<String> {
        Some(
            line.strip_prefix("add: `sudo ")?
                .strip_suffix('`')?
                .to_owned(),
        )
    };
    let add: Vec<String> = told.lines().filter_map(add).collect();
    ensure!(add.len() == 6, "other commands: {told}");
    lab.root(&add.join(" && "))?;
    lab.guest("web", FETCH)?;
    lab.guest("web", ASKS)?;
    lab.until("the way is free", &network("True"), soon)?;
    lab.root("nft delete table ip filter && nft delete table ip6 filter")?;
    legacy(lab)?;

    // Somebody takes our own table away.
    lab.root("nft delete table inet banger")?;
    lab.until("the table is back", "nft list table inet banger", soon)?;
    lab.until(
        "the repair is told",
        "su owner -c 'banger events vm/web' | grep -q NetworkRepaired",
        soon,
    )?;
    lab.guest("web", FETCH)?;
    altered(lab)?;
    lab.delete("web")?;
    Ok(())
}

/// A table of iptables-legacy that drops all that is forwarded. nft lists nothing
/// of it; that it is there is told.
fn legacy(lab: &Lab) -> Result<()> {
    let told = |tables: &str| {
        format!("banger doctor --inventory -o json | jq -e '.legacyTables == {tables}'")
    };
    lab.owner(&told("[]"))?;
    lab.root("modprobe iptable_filter forward=0")?;
    let refused = lab.ask_guest("web", FETCH)?;
    ensure!(
        is_unanswered(&refused),
        "the legacy table isn't in the way: {refused:?}"
    );
    lab.owner(&told("[\"ip filter\"]"))?;
    lab.root("modprobe -r iptable_filter")?;
    lab.guest("web", FETCH)?;
    Ok(())
}

/// Somebody makes a rule of ours do something else under its own comment, and
/// takes a guest's seat away: both are put right, before anything asks for it.
fn altered(lab: &Lab) -> Result<()> {
    let soon = Duration::from_secs(120);
    lab.root(
        "rule=$(nft -a list chain inet banger forward | grep 'no way in') && \
         comment=$(echo \"$rule\" | sed 's/.*comment \"\\(.*\\)\" # handle.*/\\1/') && \
         nft replace rule inet banger forward handle ${rule##* } \
         oifname br-banger accept comment \"\\\"$comment\\\"\"",
    )?;
    lab.until(
        "the rule drops again",
        "nft list chain inet banger forward | grep 'no way in' | grep -q drop",
        soon,
    )?;
    let tap = lab.field("web", ".status.handles.tap")?;
    let tap = tap.trim();
    let seat = format!("nft -j list set bridge banger seats | grep -q '\"{tap}\"'");
    lab.root(&format!(
        "{seat} && seat=$(nft list set bridge banger seats | tr ',{{}}' '\n' | \
         grep '\"{tap}\"') && nft delete element bridge banger seats \"{{ $seat }}\""
    ))?;
    lab.until("the seat is back", &seat, soon)?;
    lab.guest("web", FETCH)?;
    Ok(())
}
