//! Second thoughts: documents that were away for a moment, a VM that is had back
//! from the trash, a VM that gets another name, and one entry of the trash that
//! goes for good. Two guests are booted for it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::dns::{self, SERVER};
use crate::lab::Lab;

const SOON: Duration = Duration::from_secs(30);
const VMS: &str = "cd ~/.config/banger/vms";
const TRASH: &str = "/var/lib/banger/trash";

pub(super) fn trash_and_names(lab: &mut Lab) -> Result<()> {
    lab.write("ask.pl", dns::ASK)?;
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    // On the disk, and in the guest's memory.
    lab.guest(
        "web",
        "echo kept > /var/marker; sync; echo kept > /dev/shm/marker",
    )?;
    let worker = lab.pid("worker")?;
    away_for_a_moment(lab)?;
    let uid = lab.field("web", ".metadata.uid")?;
    deleted_and_back(lab, &uid)?;
    renamed(lab, &uid)?;
    ensure!(lab.pid("worker")? == worker, "worker was restarted");
    emptied(lab, &uid)?;
    lab.owner("banger delete vm side taker --yes && rm ~/ask.pl")?;
    Ok(())
}

/// A VM that never runs: it costs nothing but its row.
fn halted(lab: &Lab, file: &str, name: &str) -> Result<()> {
    lab.write_vm(file, &Lab::document(name, "runPolicy: Halted"))?;
    lab.owner(&format!(
        "banger wait --for=condition=Accepted vm/{name} --timeout 30s"
    ))?;
    Ok(())
}

/// Two documents go at once, which counts after a minute, and are back before.
fn away_for_a_moment(lab: &Lab) -> Result<()> {
    halted(lab, "side.yaml", "side")?;
    let (uid, pid) = (lab.field("web", ".metadata.uid")?, lab.pid("web")?);
    let held = |not: &str| {
        format!(
            "su owner -c 'banger get vm web -o json' | jq -e '[.status.conditions[] | \
             select(.type == \"DeletionHeld\") | .status == \"True\"] | any{not}' >/dev/null"
        )
    };
    lab.owner(&format!(
        "mkdir -p ~/away && {VMS} && mv web.yaml side.yaml ~/away/"
    ))?;
    lab.until("the deletion is held", &held(""), SOON)?;
    // One that is missing alone would be gone by now.
    lab.owner("sleep 4")?;
    lab.root(&format!("kill -0 {pid}"))?;
    lab.owner("mv ~/away/* ~/.config/banger/vms/ && rmdir ~/away")?;
    lab.until("the deletion is off", &held(" | not"), SOON)?;
    let now = (lab.field("web", ".metadata.uid")?, lab.pid("web")?);
    ensure!(now == (uid.clone(), pid), "{now:?} instead of {uid} {pid}");
    let memory = lab.guest("web", "cat /dev/shm/marker")?;
    ensure!(memory.trim() == "kept", "the guest's memory is another one");
    Ok(())
}

/// The id of the entry that holds this VM as a whole; empty where none does.
fn entry(lab: &Lab, uid: &str) -> Result<String> {
    let ids = lab.owner(&format!(
        "banger trash list -o json | \
         jq -r '.items[] | select(.uid == \"{uid}\" and .disk == null) | .id'"
    ))?;
    Ok(ids.trim().to_owned())
}

/// `banger trash list` shows the VM under this name.
fn is_listed(lab: &Lab, name: &str, uid: &str) -> Result<()> {
    let table = lab.owner("banger trash list")?;
    let shows = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next(), words.next()) == (Some(name), Some(uid))
    };
    ensure!(
        table.lines().any(shows),
        "no {name} of uid {uid} in:\n{table}"
    );
    Ok(())
}

fn deleted_and_back(lab: &Lab, uid: &str) -> Result<()> {
    let text = lab.owner(&format!("{VMS} && cat web.yaml"))?;
    lab.delete("web")?;
    dns::ask(lab, "web.vm", "A", "NXDOMAIN")?;
    let left = lab.inventory()?.0;
    ensure!(
        !left.iter().any(|line| line.contains(uid)),
        "left after the deletion: {left:?}"
    );
    is_listed(lab, "web", uid)?;
    let id = entry(lab, uid)?;
    lab.owner(&format!("test -s {TRASH}/{id}/root.cow"))?;
    // Its address is the first that is free for another VM.
    halted(lab, "taker.yaml", "taker")?;

    let said = lab.owner("banger undelete vm web --timeout 240s")?;
    ensure!(said.contains(uid), "undelete says {said}");
    lab.ready("web").context("after undelete")?;
    let now = lab.field("web", ".metadata.uid")?;
    ensure!(now == uid, "it is VM {now} instead of {uid}");
    let disk = lab.guest("web", "cat /var/marker")?;
    ensure!(disk.trim() == "kept", "the disk is another one: {disk}");
    let again = lab.owner(&format!("{VMS} && cat web.yaml"))?;
    ensure!(again == text, "its document was {text}\nand is {again}");
    let id = entry(lab, uid)?;
    ensure!(id.is_empty(), "it lies in the trash still, as {id}");
    let address = lab.field("web", ".status.runtime.guestIp")?;
    let taken = lab.field("taker", ".status.runtime.guestIp")?;
    ensure!(address != taken, "web and taker both have {address}");
    dns::ask(lab, "web.vm", "A", &format!("NOERROR {address}"))?;
    lab.root(&format!("ping -c 1 -W 5 {address}"))?;
    Ok(())
}

fn renamed(lab: &Lab, uid: &str) -> Result<()> {
    let text = lab.owner(&format!("{VMS} && cat web.yaml"))?;
    let (pid, address) = (
        lab.pid("web")?,
        lab.field("web", ".status.runtime.guestIp")?,
    );
    lab.owner("banger rename vm web shop")?;
    let now = (lab.field("shop", ".metadata.uid")?, lab.pid("shop")?);
    ensure!(
        now == (uid.to_owned(), pid),
        "{now:?} instead of {uid} {pid}"
    );
    let old = lab.ask("banger get vm web")?;
    ensure!(old.status == 3, "the old name is still there: {old:?}");
    let again = lab.owner(&format!("{VMS} && cat web.yaml"))?;
    ensure!(
        again == text.replace("{name: web}", "{name: shop}") && again != text,
        "its document was {text}\nand is {again}"
    );
    lab.until(
        "the new name resolves",
        &format!(
            "su owner -c 'perl ~owner/ask.pl {SERVER} shop.vm A' | grep -qx 'NOERROR {address}'"
        ),
        SOON,
    )?;
    dns::ask(lab, "web.vm", "A", "NXDOMAIN")?;
    // A daemon without its database would find it under its new name, too.
    lab.until(
        "the record beside the disks has the new name",
        &format!("jq -e '.vm.metadata.name == \"shop\"' /var/lib/banger/vms/{uid}/vm.json"),
        SOON,
    )?;

    // The old name is free: a document of it is another VM.
    halted(lab, "second.yaml", "web")?;
    let second = lab.field("web", ".metadata.uid")?;
    ensure!(second != uid, "the old name still means the same VM");
    lab.owner("banger delete vm web --purge --yes")?;

    // The guest takes its name at its next boot.
    let host_name = lab.guest("shop", "hostname")?;
    ensure!(host_name.trim() == "web", "it is {host_name} already");
    lab.owner("banger vm restart shop")?;
    lab.ready("shop")?;
    ensure!(lab.pid("shop")? != pid, "it is the same Firecracker");
    let told = lab.guest("shop", "hostname; cat /var/marker")?;
    ensure!(
        told.split_whitespace().collect::<Vec<_>>() == ["shop", "kept"],
        "host name and marker are {told}"
    );
    let diff = lab.ask("banger diff")?;
    ensure!(diff.status == 0, "diff shows:\n{}", diff.stdout);
    Ok(())
}

/// Of two VMs in the trash the one that is named goes, and nothing else.
fn emptied(lab: &Lab, uid: &str) -> Result<()> {
    let other = lab.field("worker", ".metadata.uid")?;
    lab.delete("worker")?;
    lab.delete("shop")?;
    is_listed(lab, "shop", uid)?;
    is_listed(lab, "worker", &other)?;
    let (id, kept) = (entry(lab, uid)?, entry(lab, &other)?);
    let held = || -> Result<_> {
        let images = "ls /var/lib/banger/images";
        let entries = lab.owner(&format!("ls {TRASH} && {images}"))?;
        let entries: Vec<_> = entries.lines().map(str::to_owned).collect();
        Ok((entries, lab.inventory()?))
    };
    let (mut entries, inventory) = held()?;
    ensure!(entries.contains(&id), "{id} isn't in {entries:?}");
    entries.retain(|entry| *entry != id);

    lab.owner("banger trash empty shop --yes")?;
    let after = held()?;
    ensure!(
        after == (entries.clone(), inventory.clone()),
        "there should be {entries:?} and {inventory:?}, not {after:?}"
    );
    ensure!(entry(lab, uid)?.is_empty(), "it is listed still");
    is_listed(lab, "worker", &other)?;
    lab.owner(&format!("test -s {TRASH}/{kept}/root.cow"))?;
    let again = lab.ask("banger trash empty shop --yes")?;
    ensure!(again.status == 3, "once more: {again:?}");
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(list.contains("0 unowned, 0 missing"), "{list}");
    Ok(())
}
