//! A file goes, and with it everything but the disk, which is in the trash.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

pub(super) fn file(lab: &mut Lab) -> Result<()> {
    // The bridge and the image stay for the next VM: they are there before.
    lab.vm("before", "")?;
    lab.delete("before")?;
    let before = lab.inventory()?;
    lab.vm("gone", "")?;
    let uid = lab.field("gone", ".metadata.uid")?;
    let tap = lab.field("gone", ".status.handles.tap")?;
    let during = lab.inventory()?;
    let cow = format!("/{uid}/root.cow");
    for (kind, of_it) in [
        ("dm ", &uid),
        ("process ", &uid),
        ("unit ", &uid),
        ("vm ", &uid),
        ("jail ", &uid),
        ("sockets ", &uid),
        ("loop ", &cow),
        ("link ", &tap),
    ] {
        let there = during
            .0
            .iter()
            .any(|line| line.starts_with(kind) && line.contains(of_it.as_str()));
        ensure!(
            there,
            "while it runs, the inventory has no {kind}of it: {during:?}"
        );
    }
    lab.owner("rm ~/.config/banger/vms/gone.yaml")?;
    lab.owner("banger wait --for=delete vm/gone --timeout 120s")?;
    let after = lab.inventory()?;
    ensure!(after == before, "before: {before:?}\nafter: {after:?}");
    lab.until(
        "the disk is in the trash",
        &format!("ls /var/lib/banger/trash | grep -q {uid} && find /var/lib/banger/trash -name root.cow | grep -q {uid}"),
        Duration::from_secs(5),
    )?;
    Ok(())
}
