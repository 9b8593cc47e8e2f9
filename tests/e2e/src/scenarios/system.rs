//! The installation: restarted, taken away and brought back.

use anyhow::{Result, ensure};

use super::promises;
use crate::{decoys, lab::Lab};

const INSTALL: &str = "/payload/banger system install --owner owner --from /payload \
                       --firecracker /images/firecracker --jailer /images/jailer";

pub(super) fn restart(lab: &mut Lab) -> Result<()> {
    promises::make(lab)?;
    let pids = (lab.pid("web")?, lab.pid("worker")?);
    let same = |lab: &Lab| -> Result<()> {
        let now = (lab.pid("web")?, lab.pid("worker")?);
        ensure!(
            now == pids,
            "they are other Firecrackers: {now:?}, {pids:?}"
        );
        Ok(())
    };
    lab.root("banger system restart")?;
    promises::apart(lab)?;
    promises::hold(lab)?;
    promises::mended(lab)?;
    same(lab)?;
    // An update is an installation over the present one. All have the same
    // programs: a damaged one is the other version.
    lab.root("cp /bin/true /usr/lib/banger/banger-agent")?;
    lab.root(INSTALL)?;
    promises::hold(lab)?;
    same(lab)?;
    again(lab)?;
    failing(lab)?;
    lab.ready("web")?;
    same(lab)
}

const DAEMON: &str = "systemctl show --property MainPID --value bangerd.service";

/// An installation that finds nothing to do restarts nothing.
fn again(lab: &Lab) -> Result<()> {
    let before = lab.root(DAEMON)?;
    let said = lab.root(INSTALL)?;
    ensure!(said.contains("no change"), "it says {said}");
    ensure!(lab.root(DAEMON)? == before, "the daemon was restarted");

    let status = lab.ask("banger system status")?;
    let doctor = lab.ask("banger doctor")?;
    ensure!(
        status.status == doctor.status,
        "{status:?} beside {doctor:?}"
    );
    let running =
        lab.root("systemctl list-units --plain --no-legend --state=active 'banger-vm-*' | wc -l")?;
    for (fact, value) in [("owner", "owner"), ("running VMMs", running.trim())] {
        let told = |line: &str| line.starts_with(fact) && line.trim_end().ends_with(value);
        ensure!(
            status.stdout.lines().any(told),
            "no {fact} {value}: {status:?}"
        );
    }
    let pool = |line: &str| line.starts_with("pass  tap pool") && line.contains(" warm, 2 in use");
    ensure!(
        status.stdout.lines().any(pool),
        "no tap pool of two VMs: {status:?}"
    );
    Ok(())
}

/// One that fails puts all back, and what ran runs.
fn failing(lab: &Lab) -> Result<()> {
    let state = || {
        lab.root(
            "at='/usr/lib/banger /usr/bin/banger /etc/banger /etc/systemd/system \
             /etc/udev/rules.d /etc/modules-load.d /var/lib/banger-helper/jail'; \
             find $at -maxdepth 2 -printf '%p %l %m %u\\n' | sort; \
             find $at -maxdepth 2 -type f | sort | xargs sha256sum; \
             systemctl is-enabled bangerd.socket bangerd banger-helper.socket; \
             systemctl is-active bangerd.socket bangerd banger-helper.socket",
        )
    };
    let from = "mkdir -p /root/other && cp /payload/{banger,bangerd,banger-helper,banger-agent} \
                /root/other && cp /bin/true /root/other/banger-agent";
    let install = INSTALL.replace("--from /payload", "--from /root/other");
    // A file that can't be written, the last one; and a daemon that doesn't start.
    for (fault, mend) in [
        (
            "rm /etc/modules-load.d/banger.conf && mkdir -p /etc/modules-load.d/banger.conf/x",
            "rm -r /etc/modules-load.d/banger.conf",
        ),
        ("cp /bin/false /root/other/bangerd", "rm -r /root/other"),
    ] {
        lab.root(&format!("{from} && {fault}"))?;
        let before = (state()?, lab.owner("banger get vms -o name")?);
        let failed = lab.host.exec(crate::User::Root, &install)?;
        ensure!(
            failed.status != 0 && failed.stderr.contains("everything is as it was before"),
            "after `{fault}`: {failed:?}"
        );
        let after = (state()?, lab.owner("banger get vms -o name")?);
        ensure!(
            after == before,
            "after `{fault}`: {after:?}, not {before:?}"
        );
        lab.root(mend)?;
    }
    lab.root(INSTALL)?;
    Ok(())
}

/// A jailer that isn't the one that was installed is not run as root; what
/// runs can be stopped as ever, and an installation puts it right.
pub(super) fn replaced_program(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let pid = lab.pid("web")?;
    lab.owner(FAKES)?;
    lab.root("echo >> /usr/lib/banger/jailer && systemctl restart banger-helper")?;
    lab.owner("banger vm stop worker")?;
    let refused = lab.ask("banger vm start worker --timeout 20s")?;
    ensure!(
        refused.status != 0 && format!("{refused:?}").contains("jailer"),
        "with another jailer: {refused:?}"
    );
    let phase = lab.field("worker", "[.status.phase, .status.handles.pid] | tostring")?;
    ensure!(phase.ends_with("null]"), "worker has a VMM: {phase}");
    let check =
        lab.ask("banger doctor -o json | jq -r '.checks[] | select(.verdict == \"fail\")'")?;
    ensure!(
        check.stdout.contains("jailer"),
        "the doctor says nothing of it: {check:?}"
    );
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");

    lab.root(INSTALL)?;
    lab.owner("banger vm start worker")?;
    ensure!(
        lab.guest("worker", "hostname")?.trim() == "worker",
        "the guest is gone"
    );
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");
    let worker = lab.pid("worker")?;
    lab.root(&format!(
        "cmp /proc/{worker}/exe /usr/lib/banger/firecracker"
    ))?;
    // Nor has the configuration a word for it: a daemon that reads one says so.
    let named = lab.ask(
        "mkdir -p /tmp/probe/vms /tmp/probe/images && \
         echo 'firecracker = \"/home/owner/bin/firecracker\"' > /tmp/probe/config.toml && \
         timeout 5 /usr/lib/banger/bangerd --sim --state-dir /tmp/probe/state \
         --config-dir /tmp/probe --socket /tmp/probe/sock",
    )?;
    ensure!(
        named.status == 1 && format!("{named:?}").contains("firecracker"),
        "a program of the owner's in config.toml: {named:?}"
    );
    lab.owner(
        "rm -rf /tmp/probe ~/bin /var/lib/banger/{firecracker,jailer,nft,dmsetup} && \
         sed -i '/HOME.bin:/d' ~/.profile",
    )?;
    Ok(())
}

/// Programs of the owner's under the names of those that root runs: on the PATH
/// of the owner's shells, in the home and in the daemon's directory. Where one of
/// them ran, no VM would.
pub(super) const FAKES: &str = "for at in ~/bin /var/lib/banger; do mkdir -p $at; \
    for name in firecracker jailer nft dmsetup; do \
    printf '#!/bin/sh\\nexit 1\\n' > $at/$name && chmod 755 $at/$name; done; done; \
    echo 'PATH=$HOME/bin:$PATH' >> ~/.profile";

/// The host loses power; what ran runs again, with what was synced.
pub(super) fn power_cut(lab: &mut Lab) -> Result<()> {
    promises::make(lab)?;
    lab.guest("web", "echo kept > /var/marker; sync")?;
    let uid = lab.field("web", ".metadata.uid")?;
    lab.host.reset()?;
    decoys::plant(&lab.host)?;
    lab.ready("web")?;
    ensure!(
        lab.field("web", ".metadata.uid")? == uid,
        "it is another VM"
    );
    let marker = lab.guest("web", "cat /var/marker")?;
    ensure!(marker.trim() == "kept", "the disk is another one");
    promises::apart(lab)?;
    promises::hold(lab)?;
    promises::mended(lab)?;
    again(lab)
}

/// The host is shut down as at a person's word, and booted again. Its guests shut
/// down first: what they wrote a moment ago is there, and no journal has to tell of it.
pub(super) fn reboot(lab: &mut Lab) -> Result<()> {
    for vm in ["web", "worker"] {
        lab.vm(vm, "")?;
    }
    let mut before = Vec::new();
    for vm in ["web", "worker"] {
        // No sync.
        let sum = lab.guest(
            vm,
            "head -c 3000000 /dev/urandom > /var/written; sha256sum < /var/written",
        )?;
        before.push((vm, lab.field(vm, ".metadata.uid")?, sum));
    }
    lab.host.reboot()?;
    decoys::plant(&lab.host)?;
    for (vm, uid, sum) in before {
        lab.ready(vm)?;
        ensure!(lab.field(vm, ".metadata.uid")? == uid, "{vm} is another VM");
        let now = lab.guest(vm, "sha256sum < /var/written")?;
        ensure!(now == sum, "the write in {vm} is lost: {now}");
        let log = lab.guest(vm, "dmesg | grep 'recovery complete' || true")?;
        ensure!(log.is_empty(), "{vm} was not unmounted cleanly: {log}");
    }
    // Not even counted: that it ended was asked for.
    let events = lab.owner("banger events vm/web")?;
    ensure!(!events.contains("BackOff"), "{events}");
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(list.contains("0 unowned, 0 missing"), "{list}");
    decoys::untouched(&lab.host)
}

pub(super) fn uninstall(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.guest("web", "echo kept > /var/marker; sync")?;
    let uid = lab.field("web", ".metadata.uid")?;
    let refused = lab
        .host
        .exec(crate::User::Root, "banger system uninstall")?;
    ensure!(
        refused.status != 0 && refused.stderr.contains("running"),
        "it was uninstalled under a running VM: {}",
        refused.stderr
    );
    lab.root("banger system uninstall --force")?;
    nothing_but_disks(lab)?;
    // Nor does anything of it come back with the host.
    lab.root("sync")?;
    lab.host.reset()?;
    nothing_but_disks(lab)?;
    decoys::plant(&lab.host)?;
    // The VM is where it was: its disk, its name, its uid.
    lab.root(INSTALL)?;
    lab.ready("web")?;
    ensure!(
        lab.field("web", ".metadata.uid")? == uid,
        "it is another VM"
    );
    let marker = lab.guest("web", "cat /var/marker")?;
    ensure!(marker.trim() == "kept", "the disk is another one");
    Ok(())
}

/// Everything but the disks is gone, as if it had never been there.
fn nothing_but_disks(lab: &Lab) -> Result<()> {
    let left = lab.inventory()?;
    // The host's own: its loopback, the way in, and the fake internet.
    let foreign = |line: &&String| {
        line.starts_with("vm ")
            || ["link lo", "link eth0", "link internet0"].contains(&line.as_str())
    };
    let left: Vec<_> = left.0.iter().filter(|line| !foreign(line)).collect();
    ensure!(left.is_empty(), "left after uninstall: {left:?}");
    lab.root(
        "! nft list tables | grep banger && ! ls -d /usr/lib/banger /etc/banger /run/banger \
         /etc/udev/rules.d/*banger* 2>/dev/null | grep . && \
         ! find /etc/systemd/system -name 'banger*' ! -name 'banger-e2e-*' | grep .",
    )?;
    let status = lab
        .host
        .exec(crate::User::Root, "/payload/banger system status")?;
    ensure!(
        status.status == 1 && status.stderr.contains("isn't installed"),
        "the status of a host without banger: {status:?}"
    );
    Ok(())
}
