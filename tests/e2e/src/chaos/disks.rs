//! What is on the disks, looked at without banger.

use anyhow::{Context as _, Result, ensure};

use crate::Lab;

const STATE: &str = "/var/lib/banger";

/// SQLite finds nothing wrong with the database. The daemon goes on meanwhile.
pub(super) fn database_is_whole(lab: &Lab) -> Result<()> {
    let said = lab.owner(&format!(
        "sqlite3 -cmd '.timeout 10000' {STATE}/banger.db 'PRAGMA integrity_check'"
    ))?;
    ensure!(said.trim() == "ok", "the database: {said}");
    Ok(())
}

/// Stops the VMs and checks their file systems.
pub(super) fn are_clean(lab: &Lab, uids: &(String, String)) -> Result<()> {
    let digest = lab.field("a", ".status.imageDigest")?;
    let image = digest.trim_start_matches("sha256:");
    lab.owner("banger vm stop a && banger vm stop b")?;
    lab.root(&format!("e2fsck -fn {STATE}/vms/{}/work.ext4", uids.0))
        .context("a's work disk")?;
    for uid in [&uids.0, &uids.1] {
        root(lab, uid, image).with_context(|| format!("the root disk of {uid}"))?;
    }
    Ok(())
}

/// A root disk put together as the helper does it, over read-only loops, so
/// that the check changes nothing.
fn root(lab: &Lab, uid: &str, image: &str) -> Result<()> {
    lab.root(&format!(
        "set -e; cow={STATE}/vms/{uid}/root.cow; size=$(( 2 * 1024 * 1024 * 1024 / 512 )); \
         image={STATE}/images/{image}/rootfs.ext4; \
         cp --sparse=always $cow /srv/check.cow; \
         base=$(losetup -f --show -r $image); cow=$(losetup -f --show /srv/check.cow); \
         have=$(blockdev --getsz $base); \
         end() {{ dmsetup remove check 2>/dev/null; dmsetup remove check-origin 2>/dev/null; losetup -d $base $cow; rm -f /srv/check.cow; }}; \
         trap end EXIT; \
         printf '0 %s linear %s 0\\n%s %s zero\\n' $have $base $have $((size - have)) | dmsetup create check-origin; \
         dmsetup create check --table \"0 $size snapshot /dev/mapper/check-origin $cow P 8\"; \
         udevadm settle; e2fsck -fn /dev/mapper/check"
    ))?;
    Ok(())
}
