//! The root disk: a read-only origin (the image, zeros behind it) and a
//! persistent snapshot with overflow support on top
//! (Documentation/admin-guide/device-mapper/snapshot.rst).
//!
//! `absent -> origin -> root -> unchanged`; removed in the other order. A
//! device is ours if its dm UUID is `BANGER-<uid>-<part>`; nothing else is
//! compared, loaded or removed.

mod table;

use std::time::Duration;

use banger_protocol::inventory::DmPart;
use banger_protocol::{DiskRole, Handle, LoopNumber, Retry, Sectors, VmUid};

use crate::failure::blocking;
use crate::op::loopdev;
use crate::program::Program::Dmsetup;
use crate::{Done, Failure, Host, Outcome};

pub use table::Device;

/// Sectors per copy-on-write chunk: 4 KiB, the guests' block size.
const CHUNK: u64 = 8;
/// How long a removal waits for the last closer (a VMM that has just gone).
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(50);

/// Makes origin and snapshot, or finds them as asked.
pub async fn ensure(
    host: &Host,
    uid: VmUid,
    base: LoopNumber,
    cow: LoopNumber,
    size: Sectors,
) -> Done {
    let base_size = blocking("LOOP_GET_STATUS64", move || {
        tagged(base, uid, DiskRole::Base)?;
        tagged(cow, uid, DiskRole::Cow)?;
        length(base)
    })
    .await?;
    if size < base_size || !size.0.is_multiple_of(CHUNK) {
        return Err(Failure::refused(
            "size",
            format!(
                "a root disk of {} sectors: it must be a multiple of {CHUNK} and at least the \
                 image's {}",
                size.0, base_size.0
            ),
        ));
    }
    let devices = devices().await?;
    if devices.len() >= 2 * usize::from(host.install.slots)
        && !devices.iter().any(|d| d.uid() == Some(uid))
    {
        return Err(Failure::later(
            "quota",
            "every slot's dm devices are in use",
        ));
    }
    let mut origin_table = format!("0 {} linear 7:{} 0\n", base_size.0, base.0);
    if size > base_size {
        let zeros = size.0 - base_size.0;
        origin_table.push_str(&format!("{} {zeros} zero\n", base_size.0));
    }
    let (origin, made_origin) = device(&devices, uid, DmPart::Origin, &origin_table).await?;
    let root_table = format!(
        "0 {} snapshot {} 7:{} PO {CHUNK}\n",
        size.0,
        origin.number(),
        cow.0
    );
    let (root, made_root) = device(&devices, uid, DmPart::Root, &root_table).await?;
    Ok(Outcome::new(
        made_origin || made_root,
        Handle::Dm(root.node()),
    ))
}

/// Removes the snapshot, then the origin.
pub async fn remove(uid: VmUid) -> Done {
    let mut changed = false;
    for part in [DmPart::Root, DmPart::Origin] {
        let found = devices().await?;
        if found.iter().any(|d| d.is(uid, part)) {
            drop_device(uid, part).await?;
            changed = true;
        }
    }
    Ok(Outcome::new(changed, Handle::None))
}

/// The root disk of a VM, its UUID checked.
pub async fn root(uid: VmUid) -> Result<Device, Failure> {
    let found = devices()
        .await?
        .into_iter()
        .find(|d| d.is(uid, DmPart::Root));
    found.ok_or_else(|| Failure::later("dm", format!("{} is not there", uid.dm_root())))
}

/// Every dm device of the host, without tables.
pub async fn devices() -> Result<Vec<Device>, Failure> {
    let columns = "name,uuid,major,minor";
    let args = [
        "info",
        "-c",
        "--noheadings",
        "--separator",
        "|",
        "-o",
        columns,
    ];
    table::devices(&Dmsetup.run(&args, "").await?)
        .map_err(|line| Failure::refused("dmsetup info", format!("it printed `{line}`")))
}

/// Every dm device of the host, with tables and states.
pub async fn full() -> Result<Vec<Device>, Failure> {
    let (mut found, tables, states) = tokio::try_join!(
        devices(),
        Dmsetup.run(&["table"], ""),
        Dmsetup.run(&["status"], "")
    )?;
    table::fill(&mut found, &tables, &states);
    Ok(found)
}

/// The name of one of the two devices.
pub(crate) fn name(uid: VmUid, part: DmPart) -> String {
    match part {
        DmPart::Origin => uid.dm_origin(),
        DmPart::Root => uid.dm_root(),
    }
}

/// The UUID that makes it ours.
pub(crate) fn uuid(uid: VmUid, part: DmPart) -> String {
    uid.dm_uuid(match part {
        DmPart::Origin => "origin",
        DmPart::Root => "root",
    })
}

/// Finds one device with this table, or creates it.
async fn device(
    devices: &[Device],
    uid: VmUid,
    part: DmPart,
    table: &str,
) -> Result<(Device, bool), Failure> {
    let (name, uuid) = (name(uid, part), uuid(uid, part));
    let mut found = devices
        .iter()
        .find(|d| d.name == name || d.uuid == uuid)
        .cloned();
    if let Some(device) = &found {
        if !device.is(uid, part) {
            return Err(Failure::refused(
                "dm UUID",
                format!(
                    "`{name}` exists and is not banger's (UUID `{}`)",
                    device.uuid
                ),
            ));
        }
        let live = Dmsetup.run(&["table", &name], "").await?;
        if live.trim().is_empty() {
            // A creation that was cut short before its table was loaded.
            drop_device(uid, part).await?;
            found = None;
        } else if !table::same(&live, table) {
            return Err(Failure::refused(
                "dm table",
                format!("`{name}` stands with another table: remove it first"),
            ));
        }
    }
    if let Some(device) = found {
        return Ok((device, false));
    }
    let mut args = vec!["create", &name, "--uuid", &uuid, "--noudevsync"];
    if part == DmPart::Origin {
        args.push("--readonly");
    }
    Dmsetup.run(&args, table).await?;
    let made = self::devices().await?.into_iter().find(|d| d.is(uid, part));
    let made =
        made.ok_or_else(|| Failure::later("dmsetup create", format!("`{name}` vanished")))?;
    Ok((made, true))
}

/// Removes one device whose UUID was just seen to be ours. A device that was
/// closed a moment ago is still busy; the kernel has no event for that.
async fn drop_device(uid: VmUid, part: DmPart) -> Result<(), Failure> {
    let uuid = uuid(uid, part);
    // By UUID, not by name: it names ours or nothing.
    let args = ["remove", "--noudevsync", "--uuid", &uuid];
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let failure = match Dmsetup.run(&args, "").await {
            Ok(_) => return Ok(()),
            Err(failure) => failure,
        };
        if !devices().await?.iter().any(|d| d.is(uid, part)) {
            return Ok(());
        }
        if failure.retry == Retry::Never || tokio::time::Instant::now() >= end {
            return Err(failure);
        }
        tokio::time::sleep(STEP).await;
    }
}

fn tagged(device: LoopNumber, uid: VmUid, role: DiskRole) -> Result<(), Failure> {
    match loopdev::status(device)? {
        Some(found) if (found.uid, found.role) == (uid, role) => Ok(()),
        _ => Err(Failure::refused(
            "tag",
            format!(
                "{} is not the {} disk of {uid}",
                device.path(),
                role.as_str()
            ),
        )),
    }
}

/// A block device's length as sysfs gives it: in sectors of 512 bytes.
fn length(device: LoopNumber) -> Result<Sectors, Failure> {
    let path = format!("/sys/block/loop{}/size", device.0);
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::os("read", &path, e))?;
    let sectors = text.trim().parse().ok().filter(|&n| n > 0);
    sectors
        .map(Sectors)
        .ok_or_else(|| Failure::refused("size", format!("{} is empty", device.path())))
}
