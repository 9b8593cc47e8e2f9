//! Each of banger's processes is killed; no VM is lost.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

const SOON: Duration = Duration::from_secs(60);

pub(super) fn daemon(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let pid = lab.pid("web")?;
    lab.guest("web", "echo kept > /dev/shm/marker")?;
    let killed = lab.root(
        "systemctl show -P MainPID bangerd; systemctl kill --kill-whom=main -s KILL bangerd",
    )?;
    lab.until(
        "a new bangerd",
        &format!(
            "[ \"$(systemctl show -P MainPID bangerd)\" != {} ] && systemctl -q is-active bangerd",
            killed.trim()
        ),
        SOON,
    )?;
    lab.ready("web")?;
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(
        list.contains("adopted 2/2 running VMs"),
        "not every VM was adopted:\n{list}"
    );
    let marker = lab.guest("web", "cat /dev/shm/marker")?;
    ensure!(marker.trim() == "kept", "the guest's memory is another one");

    // And it is found well enough to be removed without a rest.
    let before = lab.inventory()?;
    let uid = lab.field("web", ".metadata.uid")?;
    lab.delete("web")?;
    let after = lab.inventory()?;
    let left: Vec<_> = after.0.iter().filter(|line| line.contains(&uid)).collect();
    ensure!(
        left.is_empty(),
        "left after the deletion: {left:?}\nbefore: {before:?}"
    );
    Ok(())
}

/// Both services stand still: their watchdogs end them, though they don't take the
/// signal that asks them to, and the next daemon takes the VMs over.
pub(super) fn hung(lab: &mut Lab) -> Result<()> {
    // WatchdogSec= and then TimeoutStopSec=, and a little.
    const REPLACED: Duration = Duration::from_secs(150);
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let pids = (lab.pid("web")?, lab.pid("worker")?);
    let hung = lab.root("systemctl show -P MainPID bangerd")?;
    let hung = hung.trim();
    let helper = lab.root("systemctl show -P MainPID banger-helper")?;
    let helper = helper.trim();
    lab.root(&format!("kill -STOP {hung} {helper}"))?;
    lab.until(
        "a new bangerd",
        &format!(
            "[ \"$(systemctl show -P MainPID bangerd)\" != {hung} ] && systemctl -q is-active bangerd"
        ),
        REPLACED,
    )?;
    lab.until(
        "the helper is gone",
        &format!("! kill -0 {helper} 2>/dev/null"),
        REPLACED,
    )?;
    lab.root(&format!("! kill -0 {hung} 2>/dev/null"))?;
    for unit in ["bangerd", "banger-helper"] {
        lab.root(&format!(
            "journalctl -u {unit} -o cat | grep -i 'watchdog timeout'"
        ))?;
    }
    lab.ready("web")?;
    lab.ready("worker")?;
    ensure!(
        (lab.pid("web")?, lab.pid("worker")?) == pids,
        "they are other Firecrackers"
    );
    ensure!(
        lab.guest("web", "hostname")?.trim() == "web",
        "the guest is gone"
    );
    Ok(())
}

pub(super) fn helper(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let uid = lab.field("worker", ".metadata.uid")?;
    let pid = lab.pid("web")?;
    // Its socket starts it when it is needed; here there must be one to kill.
    let killed = lab.root(
        "systemctl start banger-helper && systemctl show -P MainPID banger-helper && \
         systemctl kill --kill-whom=main -s KILL banger-helper",
    )?;
    let killed: u32 = killed.trim().parse()?;
    ensure!(killed != 0, "there was no helper to kill");
    lab.until(
        "the helper is dead",
        &format!("! kill -0 {killed} 2>/dev/null"),
        SOON,
    )?;
    ensure!(
        lab.guest("web", "hostname")?.trim() == "web",
        "the guest is gone"
    );
    // The next change needs the helper again: its socket brings it back.
    lab.delete("worker")?;
    let next = lab.root("systemctl show -P MainPID banger-helper")?;
    ensure!(
        next.trim() != "0" && next.trim() != killed.to_string(),
        "the helper is process {next}, after {killed} was killed"
    );
    let left = lab.inventory()?.0;
    ensure!(
        !left.iter().any(|line| line.contains(&uid)),
        "left after the deletion: {left:?}"
    );
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");
    Ok(())
}

pub(super) fn vmm(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.guest("web", "echo kept > /var/marker && sync")?;
    let pid = lab.pid("web")?;
    lab.root(&format!("kill -KILL {pid}"))?;
    // The kernel tells of it. The next look that nothing asks for comes after 60 s.
    lab.until(
        "the VM is demoted",
        &format!(
            "! kill -0 {pid} 2>/dev/null && su owner -c 'banger get vm web -o json' | \
             jq -e '.status.handles.pid != {pid}' >/dev/null"
        ),
        Duration::from_secs(5),
    )?;
    let line = format!(
        "su owner -c 'banger get vm web -o json' | jq -e '.status.handles.pid as $p | $p != null and $p != {pid}' >/dev/null"
    );
    lab.until("a new Firecracker", &line, Duration::from_secs(120))?;
    lab.ready("web")?;
    let marker = lab.guest("web", "cat /var/marker")?;
    ensure!(marker.trim() == "kept", "the root disk is another one");
    let events = lab.owner("banger events vm/web")?;
    ensure!(
        events.contains("Demoting"),
        "no event tells of it:\n{events}"
    );
    Ok(())
}

/// "I couldn't ask" is not "it isn't there".
pub(super) fn helper_away(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let pid = lab.pid("web")?;
    // `vm ssh` would wait for what can be told again: the guest is asked itself.
    let address = lab.field("web", ".status.runtime.guestIp")?;
    lab.root("systemctl stop banger-helper.socket banger-helper.service")?;
    let result = (|| -> Result<()> {
        // One VM is to go and another to come meanwhile.
        lab.write_vm("late.yaml", &Lab::document("late", ""))?;
        lab.until(
            "the new VM says why it waits",
            "su owner -c 'banger get vm late -o json' | jq -e '.status.conditions[] | \
             select(.type == \"Ready\" and .status != \"True\")' >/dev/null",
            SOON,
        )?;
        lab.owner("rm ~/.config/banger/vms/web.yaml && sleep 5")?;
        lab.root(&format!("kill -0 {pid}"))?;
        lab.write_vm("web.yaml", &Lab::document("web", ""))?;
        lab.root(&format!(
            "sleep 3; kill -0 {pid} && ping -c 1 -W 5 {address}"
        ))?;
        Ok(())
    })();
    lab.root("systemctl start banger-helper.socket")?;
    result?;
    lab.ready("web")?;
    lab.ready("late")?;
    ensure!(lab.pid("web")? == pid, "web is another Firecracker");
    lab.delete("late")
}

/// A `handles.json` that is damaged, of another boot or of another VM costs nothing.
pub(super) fn scratch_files(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let pid = lab.pid("web")?;
    let file_of = |name: &str| -> Result<String> {
        let uid = lab.field(name, ".metadata.uid")?;
        Ok(format!("/var/lib/banger/vms/{uid}/handles.json"))
    };
    let (file, other) = (file_of("web")?, file_of("worker")?);
    for damage in [
        format!("rm {file}"),
        format!(": > {file}"),
        format!("head -c 300 /dev/urandom > {file}"),
        format!(
            "jq '.bootId = \"00000000-0000-4000-8000-000000000000\" | .pid = 1' {file} > {file}.new && mv {file}.new {file}"
        ),
        format!("cp {other} {file}"),
    ] {
        lab.owner(&damage)?;
        lab.root("systemctl restart bangerd")?;
        lab.ready("web")?;
        ensure!(
            lab.pid("web")? == pid,
            "after `{damage}` it is another Firecracker"
        );
        lab.owner(&format!("jq -e '.pid == {pid}' {file}"))?;
    }
    Ok(())
}
