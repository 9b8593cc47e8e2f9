//! `banger doctor` on a host that is well, its list with decoys on the host,
//! and a lost database: a document takes over the VM of its name, and one that
//! was stopped stays off; what has none goes on running until somebody names it.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

const SOON: Duration = Duration::from_secs(60);

pub(super) fn lost_database(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let (uid, pid) = (lab.field("web", ".metadata.uid")?, lab.pid("web")?);
    lab.vm("worker", "")?;
    lab.owner("banger vm stop worker")?;
    let stopped = lab.field("worker", ".metadata.uid")?;

    let checks = lab.root("banger doctor -o json | tee /tmp/doctor.json")?;
    lab.root("jq -e '.counts.fail == 0' /tmp/doctor.json")
        .map_err(|error| error.context(checks))?;
    lab.root(
        "jq -e '.checks[] | select(.name == \"KVM\") | .message | contains(\"ran\")' /tmp/doctor.json",
    )?;

    // Decoys are listed and don't count: `banger-x` is always there.
    lab.root("ip tuntap add bgr999 mode tap")?;
    let list = lab.owner("banger doctor --inventory")?;
    for word in ["0 unowned, 0 missing", "banger-x", "bgr999"] {
        ensure!(list.contains(word), "the list lacks `{word}`:\n{list}");
    }

    // The database is lost: the document takes over the VM that runs.
    lab.root("systemctl stop bangerd && rm /var/lib/banger/banger.db*")?;
    lab.root("systemctl start bangerd")?;
    lab.until(
        "the VM is taken over",
        "su owner -c 'banger doctor --inventory' | grep -q 'adopted 1/1 running VMs'",
        SOON,
    )?;
    lab.owner("banger wait --for=condition=Ready vm/web --timeout 300s")?;
    let now = (lab.field("web", ".metadata.uid")?, lab.pid("web")?);
    ensure!(now == (uid.clone(), pid), "{now:?} instead of {uid} {pid}");
    // web's image is imported anew by now: worker could have been started.
    let worker = lab.field("worker", ".metadata.uid + \" \" + .status.phase")?;
    ensure!(
        worker == format!("{stopped} Stopped"),
        "worker was {stopped} and stopped; it is {worker}"
    );

    another_program(lab, &stopped)?;

    // It is lost again, and the document with it.
    lab.root("systemctl stop bangerd && rm /var/lib/banger/banger.db*")?;
    lab.owner("mv ~/.config/banger/vms/web.yaml /tmp/web.yaml")?;
    lab.root("systemctl start bangerd")?;
    lab.until(
        "the orphan is told",
        "su owner -c 'banger doctor --inventory' | grep -q 'adopted 0/1 running VMs'",
        SOON,
    )?;
    let command = format!("banger gc --orphan {uid}");
    let list = lab.root("su owner -c 'banger doctor --inventory' || true")?;
    ensure!(list.contains(&command), "no `{command}`:\n{list}");
    lab.owner("banger gc")?;
    lab.root(&format!("kill -0 {pid}"))?;

    lab.owner(&command)?;
    lab.root(&format!("! kill -0 {pid} 2>/dev/null"))?;
    let left = lab.inventory()?;
    let left: Vec<_> = left.0.iter().filter(|line| line.contains(&uid)).collect();
    ensure!(left.is_empty(), "left after the collection: {left:?}");
    lab.root(&format!("ls /var/lib/banger/trash | grep -q {uid}"))?;
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(list.contains("0 unowned, 0 missing"), "{list}");
    lab.root("dmsetup info banger-x && ip link delete bgr999")?;
    Ok(())
}

/// What runs in a VM's unit, under an account of VMMs', but isn't the program that
/// root put there, is no VM that was adopted; and the VM was to be stopped anyway.
fn another_program(lab: &Lab, uid: &str) -> Result<()> {
    /// One of the range, whose slot no VM has.
    const ACCOUNT: u32 = 1_900_000_900;
    let unit = format!("banger-vm-{uid}");
    lab.root("systemctl stop bangerd.socket bangerd")?;
    lab.root(&format!(
        "install -o {ACCOUNT} -m 755 /bin/sleep /srv/firecracker && systemd-run -q --unit={unit} \
         --slice=banger.slice setpriv --reuid {ACCOUNT} --regid {ACCOUNT} --clear-groups \
         /srv/firecracker 600"
    ))?;
    lab.root("systemctl start bangerd.socket bangerd")?;
    lab.until(
        "it isn't adopted",
        "su owner -c 'banger doctor --inventory' | grep -q 'adopted 1/2 running VMs'",
        SOON,
    )?;
    let told = lab.root("journalctl -u bangerd -o cat -g 'not adopted' | tail -n 1")?;
    ensure!(told.contains("another program"), "not told why: {told}");
    lab.until(
        "it has ended",
        &format!("! systemctl is-active --quiet {unit}"),
        SOON,
    )?;
    lab.root("rm /srv/firecracker").map(drop)
}
