//! Names of VMs, for the host and for guests; other names from the fake internet.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

pub(super) const ASK: &str = include_str!("dns/ask.pl");
pub(super) const INTERNET: &str = include_str!("dns/internet.pl");
const SOON: Duration = Duration::from_secs(30);

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
    let routed = "resolvectl domain br-banger | grep -q '~vm$'";
    lab.until("systemd-resolved knows the bridge", routed, SOON)?;
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

    outside(lab)?;

    // A VM that goes takes its name along.
    lab.delete("worker")?;
    ask(lab, "worker.vm", "A", "NXDOMAIN")?;
    lab.owner("! getent ahostsv4 worker.vm")?;
    let gone = lab.ask_guest("web", "getent hosts worker")?;
    // getent(1): one of the names could not be found.
    ensure!(gone.status == 2, "the guest still finds {gone:?}");

    // The setting goes with the daemon and comes back with it.
    lab.root(&format!("systemctl stop bangerd && ! {routed}"))?;
    lab.root("systemctl start bangerd")?;
    lab.ready("web")?;
    lab.until("systemd-resolved knows the bridge again", routed, SOON)?;
    lab.owner("getent ahostsv4 web.vm")?;
    Ok(())
}

/// Other names come from the host's servers, whichever those are now.
fn outside(lab: &Lab) -> Result<()> {
    let finds = "getent ahostsv4 www.example | grep -q 198.51.100.2";
    lab.root(
        "systemd-run --quiet --unit fake-names -p NetworkNamespacePath=/run/netns/internet \
         perl /home/owner/internet.pl 198.51.100.2",
    )?;
    // Through systemd-resolved, ...
    lab.root("resolvectl dns internet0 198.51.100.2 && resolvectl domain internet0 '~.'")?;
    lab.until(
        "systemd-resolved asks the fake internet",
        "getent ahostsv4 www.example | grep -q 198.51.100.2",
        SOON,
    )?;
    lab.guest("web", finds)?;
    // ... which passes on what points inside, to the host alone.
    let evil = lab.ask_guest("web", "getent ahostsv4 evil.example")?;
    ensure!(evil.status == 2, "the guest was sent to {evil:?}");
    // ... and past it, from one question to the next.
    lab.root(
        "resolvectl revert internet0 && rm /etc/resolv.conf \
         && echo 'nameserver 198.51.100.2' > /etc/resolv.conf",
    )?;
    lab.guest("web", finds)?;
    ask(lab, "evil.example", "A", "REFUSED")?;
    ask(lab, "nobody.example", "A", "NXDOMAIN")?;
    lab.root(
        "ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf \
         && systemctl stop fake-names",
    )?;
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
