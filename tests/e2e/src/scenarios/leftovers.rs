//! What a life that ended badly leaves behind: the next one isn't poisoned by
//! it, and nothing stays for ever.

use anyhow::{Result, ensure};

use crate::lab::Lab;

/// The tap of a dead VMM is still there, down and off the bridge, when the
/// daemon comes back.
pub(super) fn stale_tap(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.guest("web", "echo kept > /var/marker; sync")?;
    let pid = lab.pid("web")?;
    let tap = lab.field("web", ".status.handles.tap")?;
    lab.root(&format!(
        "systemctl stop bangerd.socket bangerd && kill -KILL {pid} && \
         ip link set {tap} down nomaster && systemctl start bangerd.socket bangerd"
    ))?;
    lab.root(&format!(
        "for _ in $(seq 100); do kill -0 {pid} 2>/dev/null || exit 0; sleep 0.2; done; exit 1"
    ))?;
    lab.until(
        "a new Firecracker",
        &format!(
            "su owner -c 'banger get vm web -o json' | \
             jq -e '.status.handles.pid as $p | $p != null and $p != {pid}' >/dev/null"
        ),
        std::time::Duration::from_secs(120),
    )?;
    lab.ready("web")?;
    let marker = lab.guest("web", "cat /var/marker")?;
    ensure!(marker.trim() == "kept", "the disk is another one");
    Ok(())
}

/// Somebody deleted the file under a running VM's root disk.
pub(super) fn deleted_disk(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let (uid, pid) = (lab.field("web", ".metadata.uid")?, lab.pid("web")?);
    lab.root(&format!("rm /var/lib/banger/vms/{uid}/root.cow"))?;
    lab.root("losetup --list --output BACK-FILE | grep -q 'root.cow (deleted)'")?;
    lab.root("systemctl restart bangerd")?;
    // The guest still has its disk: it isn't touched for that, and its status
    // says what is odd.
    lab.until(
        "the odd loop is told",
        "su owner -c 'banger describe vm web' | grep -q 'lies over another file'",
        std::time::Duration::from_secs(60),
    )?;
    let address = lab.field("web", ".status.runtime.guestIp")?;
    lab.root(&format!("kill -0 {pid} && ping -c 1 -W 5 {address}"))?;
    lab.delete("web")?;
    let left = lab.inventory()?;
    let left: Vec<_> = left
        .0
        .iter()
        .filter(|line| line.contains(&uid) || line.contains("(deleted)"))
        .collect();
    ensure!(left.is_empty(), "left after the deletion: {left:?}");
    Ok(())
}
