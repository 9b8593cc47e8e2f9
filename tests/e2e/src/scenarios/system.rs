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
    promises::hold(lab)?;
    same(lab)?;
    // An update is an installation over the present one.
    lab.root(INSTALL)?;
    promises::hold(lab)?;
    same(lab)?;
    // The journal tells of one VM, step by step.
    lab.root(
        "journalctl -u bangerd VM=web OP=create -o json | \
         jq -es 'any(.STAGE == \"starting Firecracker\")' >/dev/null",
    )?;
    // And of what root did for it, by its uid.
    let uid = lab.field("web", ".metadata.uid")?;
    lab.root(&format!(
        "journalctl -u banger-helper VM={} OP=start-vmm -o cat | grep -q changed",
        uid.trim()
    ))?;
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
const FAKES: &str = "for at in ~/bin /var/lib/banger; do mkdir -p $at; \
    for name in firecracker jailer nft dmsetup; do \
    printf '#!/bin/sh\\nexit 1\\n' > $at/$name && chmod 755 $at/$name; done; done; \
    echo 'PATH=$HOME/bin:$PATH' >> ~/.profile";

/// The host loses power; what ran runs again, with what was synced.
pub(super) fn reboot(lab: &mut Lab) -> Result<()> {
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
    promises::hold(lab)
}

pub(super) fn uninstall(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.guest("web", "echo kept > /var/marker; sync")?;
    let refused = lab
        .host
        .exec(crate::User::Root, "banger system uninstall")?;
    ensure!(
        refused.status != 0 && refused.stderr.contains("running"),
        "it was uninstalled under a running VM: {}",
        refused.stderr
    );
    lab.root("banger system uninstall --force")?;
    // Everything but the disks is gone, as if it had never been there.
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
         /etc/systemd/system/{banger.slice,bangerd.*,banger-helper.*} /etc/udev/rules.d/*banger* \
         2>/dev/null | grep .",
    )?;
    // The VM is where it was: its disk, its name, its uid.
    lab.root(INSTALL)?;
    lab.ready("web")?;
    let marker = lab.guest("web", "cat /var/marker")?;
    ensure!(marker.trim() == "kept", "the disk is another one");
    Ok(())
}
