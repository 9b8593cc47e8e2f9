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

/// The VM's file systems as a power cut would leave them now: its guest stands still
/// while they are copied, and the copies, once their journals are replayed as at a
/// mount, have no fault.
pub(super) fn are_whole(lab: &Lab, uid: &str, image: &str) -> Result<()> {
    let copy = format!(
        "vmm=$(systemctl show -P MainPID banger-vm-{uid}.service); \
         [ $vmm != 0 ] && kill -STOP $vmm; sync; copy; kill -CONT $vmm"
    );
    check(
        lab,
        uid,
        image,
        &copy,
        "replay() { e2fsck -p $1 || [ $? = 1 ]; }",
    )
}

/// The file systems of a VM whose guest has shut down: there is nothing to repair.
pub(super) fn are_clean(lab: &Lab, uid: &str, image: &str) -> Result<()> {
    check(lab, uid, image, "copy", "replay() { :; }")
}

/// Copies of its disks, the root disk put together as the helper does it, so that
/// the check changes nothing of the VM's.
fn check(lab: &Lab, uid: &str, image: &str, copy: &str, replay: &str) -> Result<()> {
    lab.root(&format!(
        "set -e; disks={STATE}/vms/{uid}; size=$(( 2 * 1024 * 1024 * 1024 / 512 )); \
         copy() {{ for disk in root.cow work.ext4; do [ ! -e $disks/$disk ] || \
           cp --sparse=always $disks/$disk /srv/check-$disk; done; }}; \
         end() {{ set +e; [ -z \"$vmm\" ] || kill -CONT $vmm; \
           dmsetup remove check 2>/dev/null; dmsetup remove check-origin 2>/dev/null; \
           [ -z \"$base\" ] || losetup -d $base; [ -z \"$cow\" ] || losetup -d $cow; \
           rm -f /srv/check-*; }}; \
         trap end EXIT; {replay}; {copy}; \
         base=$(losetup -f --show -r {STATE}/images/{image}/rootfs.ext4); \
         cow=$(losetup -f --show /srv/check-root.cow); have=$(blockdev --getsz $base); \
         printf '0 %s linear %s 0\\n%s %s zero\\n' $have $base $have $((size - have)) \
           | dmsetup create check-origin; \
         dmsetup create check --table \"0 $size snapshot /dev/mapper/check-origin $cow P 8\"; \
         udevadm settle; \
         for disk in /dev/mapper/check /srv/check-work.ext4; do [ ! -e $disk ] || {{ \
           replay $disk && e2fsck -fn $disk; }} || exit 1; done"
    ))
    .with_context(|| format!("the disks of {uid}"))?;
    Ok(())
}
