//! Stop right after a write; the write is there after the start.

use anyhow::{Result, ensure};

use crate::lab::{DEBIAN, Lab};

pub(super) fn write_then_stop(lab: &mut Lab) -> Result<()> {
    lab.vm_over(DEBIAN, "debian", "vcpus: 2")?;
    // No sync: a clean stop has to see to it.
    lab.guest(
        "debian",
        "head -c 3000000 /dev/urandom > /var/written; sha256sum < /var/written > /var/sum",
    )?;
    let sum = lab.guest("debian", "cat /var/sum")?;
    lab.owner("banger vm stop debian")?;
    let phase = lab.field("debian", ".status.phase")?;
    ensure!(phase == "Stopped", "after the stop it is {phase}");
    let uid = lab.field("debian", ".metadata.uid")?;
    let left: Vec<_> = lab
        .inventory()?
        .0
        .into_iter()
        .filter(|line| line.contains(&uid))
        .collect();
    let disks_only = left.iter().all(|line| line.starts_with("vm "));
    ensure!(disks_only, "a stopped VM still has {left:?}");

    // Its disk isn't where it was: nobody makes an empty one in its place.
    let (cow, aside) = (
        format!("/var/lib/banger/vms/{uid}/root.cow"),
        "/var/lib/banger/root.cow.aside",
    );
    lab.root(&format!("mv {cow} {aside}"))?;
    lab.owner("banger vm start debian --wait=false")?;
    lab.until(
        "the missing disk is told",
        "su owner -c 'banger describe vm debian' | grep -q 'root.cow is missing'",
        std::time::Duration::from_secs(60),
    )?;
    lab.root(&format!("test ! -e {cow} && mv {aside} {cow}"))?;

    lab.owner("banger vm start debian")?;
    lab.ready("debian")?;
    let again = lab.guest("debian", "sha256sum < /var/written")?;
    ensure!(again == sum, "the write is lost: {again} instead of {sum}");
    // A clean stop leaves nothing for the journal to recover.
    let log = lab.guest("debian", "dmesg | grep -c 'recovery complete' || true")?;
    ensure!(
        log.trim() == "0",
        "the root file system was not unmounted cleanly"
    );
    lab.delete("debian")
}
