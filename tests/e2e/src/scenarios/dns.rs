//! Names of VMs, for the host and for guests; other names from the fake internet.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

pub(super) const ASK: &str = include_str!("dns/ask.pl");
pub(super) const INTERNET: &str = include_str!("dns/internet.pl");
const SOON: Duration = Duration::from_secs(30);

/// systemd-resolved asks at the bridge for names of VMs.
pub(super) const ROUTED: &str = "resolvectl domain br-banger | grep -q '~vm$'";
/// A name of the fake internet is found.
pub(super) const FINDS: &str = "getent ahostsv4 www.example | grep -q 198.51.100.2";
/// The host's resolver is systemd-resolved, as it was.
pub(super) const STUB: &str = "ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf";

/// A server of names in the fake internet, and the host asks it; and as it was.
/// With [`INTERNET`] in the owner's home.
pub(super) const SERVED: &str = "\
    systemctl is-active --quiet fake-names || systemd-run --quiet --unit fake-names \
      -p NetworkNamespacePath=/run/netns/internet perl /home/owner/internet.pl 198.51.100.2; \
    resolvectl dns internet0 198.51.100.2 && resolvectl domain internet0 '~.'";
pub(super) const SERVED_NO_MORE: &str = "systemctl stop fake-names && resolvectl revert internet0";

/// What no resolver sends, from the host or a guest: a name that points at
/// itself, one that is too long, any bytes, more of them than a question can
/// have, and a flood of names of others.
pub(super) const STRANGE: &str = r#"perl -MIO::Socket::INET -e '
    $s = IO::Socket::INET->new(Proto => "udp", PeerAddr => "172.30.0.1:53") or die;
    $head = "\0\7\1\0\0\1\0\0\0\0\0\0"; $tail = "\0\0\1\0\1"; srand 1;
    $s->send($head . "\xc0\x0c\0\1\0\1");
    $s->send($head . ("\x3f" . "a" x 63) x 8 . $tail);
    $s->send(join "", map { chr rand 256 } 1 .. 1 + rand 600) for 1 .. 50;
    $s->send("x" x 60000);
    $s->send($head . "\2" . chr(97 + $_ % 26) . chr(97 + $_ / 26) . "\7example" . $tail) for 1 .. 200;
'"#;

/// The bridge's address of the usual installation.
pub(super) const SERVER: &str = "172.30.0.1";

pub(super) fn names(lab: &mut Lab) -> Result<()> {
    lab.write("ask.pl", ASK)?;
    lab.write("internet.pl", INTERNET)?;
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let address = lab.field("worker", ".status.runtime.guestIp")?;

    // The host, asking the bridge and then as programs do.
    ask(lab, "worker.vm", "A", &format!("NOERROR {address}"))?;
    ask(lab, "WORKER.VM", "A", &format!("NOERROR {address}"))?;
    ask(lab, "worker.vm", "AAAA", "NOERROR")?;
    ask(lab, "nobody.vm", "A", "NXDOMAIN")?;
    lab.until("systemd-resolved knows the bridge", ROUTED, SOON)?;
    let found = lab.owner("resolvectl query worker.vm && getent ahostsv4 worker.vm")?;
    ensure!(
        found.matches(&address).count() >= 2,
        "the host finds {found:?}"
    );
    lab.root("banger doctor -o json | jq -e '.checks[] | select(.name == \"names of VMs\") | .verdict == \"pass\"'")?;

    // A guest.
    lab.guest("web", "ping -c 1 -W 5 worker")?;
    let back = lab.guest("web", &format!("getent hosts {address}"))?;
    ensure!(back.contains("worker.vm"), "{address} is called {back:?}");

    strange(lab)?;
    lab.root(
        "systemd-run --quiet --unit fake-names -p NetworkNamespacePath=/run/netns/internet \
         perl /home/owner/internet.pl 198.51.100.2",
    )?;
    outside(lab)?;
    without_resolved(lab, &address)?;
    lab.root("systemctl stop fake-names")?;

    // A VM that goes takes its name along.
    lab.delete("worker")?;
    ask(lab, "worker.vm", "A", "NXDOMAIN")?;
    lab.owner("! getent ahostsv4 worker.vm")?;
    let gone = lab.ask_guest("web", "getent hosts worker")?;
    // getent(1): one of the names could not be found.
    ensure!(gone.status == 2, "the guest still finds {gone:?}");

    // The setting goes with the daemon and comes back with it.
    lab.root(&format!(
        "systemctl stop bangerd.socket bangerd && ! {ROUTED} && \
         ! resolvectl dns br-banger | grep -q {SERVER}"
    ))?;
    lab.root("systemctl start bangerd.socket bangerd")?;
    lab.ready("web")?;
    lab.until("systemd-resolved knows the bridge again", ROUTED, SOON)?;
    lab.owner("getent ahostsv4 web.vm")?;
    Ok(())
}

/// Whoever sends nonsense, and much of it, is the only one to notice.
fn strange(lab: &Lab) -> Result<()> {
    let pid = lab.root("systemctl show -P MainPID bangerd")?;
    lab.guest("web", STRANGE)?;
    lab.guest("worker", "getent hosts web")?;
    lab.guest("web", "getent hosts worker")?;
    ask(lab, "nobody.vm", "A", "NXDOMAIN")?;
    let now = lab.root("systemctl show -P MainPID bangerd")?;
    ensure!(now == pid, "the daemon was {pid} and is {now}");
    Ok(())
}

/// Other names come from the host's servers, whichever those are now.
fn outside(lab: &Lab) -> Result<()> {
    // Through systemd-resolved, ...
    lab.root("resolvectl dns internet0 198.51.100.2 && resolvectl domain internet0 '~.'")?;
    lab.until("systemd-resolved asks the fake internet", FINDS, SOON)?;
    lab.guest("web", FINDS)?;
    // ... which passes on what points inside, to the host alone.
    let evil = lab.ask_guest("web", "getent ahostsv4 evil.example")?;
    ensure!(evil.status == 2, "the guest was sent to {evil:?}");
    // ... and past it, from one question to the next.
    lab.root(
        "resolvectl revert internet0 && rm /etc/resolv.conf \
         && echo 'nameserver 198.51.100.2' > /etc/resolv.conf",
    )?;
    lab.guest("web", FINDS)?;
    ask(lab, "evil.example", "A", "REFUSED")?;
    ask(lab, "nobody.example", "A", "NXDOMAIN")?;
    lab.root(STUB)?;
    Ok(())
}

/// A host without systemd-resolved, as docs/dns.md has it; and with it again.
fn without_resolved(lab: &Lab, worker: &str) -> Result<()> {
    // Of what it was told of interfaces nothing stays: what it knows later it
    // was told anew. Such a host has its servers in a plain resolv.conf.
    lab.root(
        "systemctl mask --quiet --now systemd-resolved && rm -rf /run/systemd/resolve/netif && \
         rm /etc/resolv.conf && echo 'nameserver 198.51.100.2' > /etc/resolv.conf && \
         systemctl restart bangerd",
    )?;
    lab.ready("web")?;
    lab.ready("worker")?;
    lab.until(
        "the daemon says that the host doesn't ask it",
        "journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID bangerd) -o cat \
         | grep -q \"it doesn't run; docs/dns.md\"",
        SOON,
    )?;
    lab.root(
        "banger doctor -o json | jq -e '.checks[] | select(.name == \"systemd-resolved\") \
         | .verdict == \"warn\" and (.remedy | contains(\"`nameserver 172.30.0.1`\"))'",
    )?;
    // Guests don't notice.
    let finds_worker = format!("getent ahostsv4 worker.vm | grep -q {worker}");
    lab.guest("web", &format!("{finds_worker} && {FINDS}"))?;
    // The host does, until its first server is the bridge's; that one asks the
    // others, and never itself.
    lab.owner(&format!("! {finds_worker} && {FINDS}"))?;
    lab.root("sed -i '1i nameserver 172.30.0.1' /etc/resolv.conf")?;
    let all = format!("{finds_worker} && {FINDS} && {{ getent ahostsv4 nobody.vm; [ $? = 2 ]; }}");
    lab.owner(&all)?;
    lab.guest("web", &all)?;

    // Once it is there again it is told, by nobody's doing.
    lab.root(&format!(
        "systemctl unmask --quiet systemd-resolved && systemctl start systemd-resolved && {STUB}"
    ))?;
    // The daemon tries ever more rarely, and at least once a minute.
    lab.until(
        "systemd-resolved is told again",
        ROUTED,
        Duration::from_secs(90),
    )?;
    lab.owner(&finds_worker)?;
    Ok(())
}

/// With [`ASK`] in the owner's home.
pub(super) fn ask(lab: &Lab, name: &str, kind: &str, expected: &str) -> Result<()> {
    let answer = lab.owner(&format!("perl ~/ask.pl {SERVER} {name} {kind}"))?;
    ensure!(
        answer.trim() == expected,
        "{name} {kind}: {answer:?} instead of {expected:?}"
    );
    Ok(())
}
