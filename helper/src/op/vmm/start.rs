//! Starting a VMM: check, clear leftovers, make the jail, start the unit.

use std::os::fd::OwnedFd;

use banger_protocol::{DiskRole, Handle, Slot, VmUid};

use super::{clear, entrance, exit, jail, memory, process, unit};
use crate::descriptor::{Access, check};
use crate::failure::blocking;
use crate::install_file::{trusted_directory, trusted_program};
use crate::op::{dm, loopdev};
use crate::{Done, Failure, Host, Outcome};

/// Firecracker's own limit (its `MAX_SUPPORTED_VCPUS`).
const MAX_VCPUS: u8 = 32;
/// Major number of loop devices (Documentation/admin-guide/devices.txt).
const LOOP_MAJOR: u32 = 7;

/// What the guest gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Gives the VMM's uid and gid.
    pub slot: Slot,
    /// The guest's memory.
    pub memory_mib: u32,
    /// The guest's processors.
    pub vcpus: u8,
    /// Whether the loop tagged `work` is a drive.
    pub work_disk: bool,
}

/// Descriptors of a start, in the protocol's order.
#[derive(Debug)]
pub struct Files {
    /// An ELF vmlinux.
    pub kernel: OwnedFd,
    /// The boot initrd.
    pub initrd: OwnedFd,
    /// Where the guest's serial line goes.
    pub serial: OwnedFd,
}

/// Starts the VMM, or finds it running.
pub async fn start(host: &Host, uid: VmUid, machine: Machine, files: Files) -> Done {
    let vmm = host.vmm_uid(machine.slot)?;
    if !(1..=MAX_VCPUS).contains(&machine.vcpus) || machine.memory_mib == 0 {
        return Err(Failure::refused(
            "machine",
            format!("1 to {MAX_VCPUS} processors and some memory are allowed"),
        ));
    }
    memory::check(machine.memory_mib)?;
    check(host, &files.kernel, "kernel", Access::Read)?;
    check(host, &files.initrd, "initrd", Access::Read)?;
    check(host, &files.serial, "serial log", Access::Append)?;
    let untrusted = |e: crate::install_file::Untrusted| Failure::refused("install", e.to_string());
    trusted_program(&host.install.firecracker).map_err(untrusted)?;
    trusted_program(&host.install.jailer).map_err(untrusted)?;
    trusted_directory(&host.runtime_dir).map_err(untrusted)?;
    let helper = entrance::program()?;
    trusted_program(&helper).map_err(untrusted)?;

    let name = uid.unit();
    if let Some(running) = process::of(host, uid)? {
        return Ok(Outcome::Unchanged(Handle::Vmm(running)));
    }
    host.programs_as_installed().await?;
    if let Some(old) = host.systemd.unit(&name).await? {
        if old.live() {
            return Err(Failure::later("unit", format!("{name} is {}", old.active)));
        }
        host.systemd.reset(&name).await?;
    }
    clear(host, uid).await?;
    if jail::uids(host)?.len() >= usize::from(host.install.slots) {
        return Err(Failure::later("quota", "every slot has a VMM"));
    }

    let root = dm::root(uid).await?;
    let work = if machine.work_disk {
        let found = blocking("LOOP_GET_STATUS64", move || {
            loopdev::of(uid, DiskRole::Work)
        })
        .await?;
        let missing = || Failure::later("loop", format!("{uid} has no work disk attached"));
        Some(found.ok_or_else(missing)?.device)
    } else {
        None
    };
    let mut drives = vec![root.node()];
    drives.extend(work.map(|device| device.path()));
    let contents = jail::Contents {
        kernel: files.kernel,
        initrd: files.initrd,
        root_drive: (root.major, root.minor),
        work_drive: work.map(|device| (LOOP_MAJOR, device.0)),
    };
    let site = jail::Site::of(host);
    let making = blocking("jail", move || jail::make(&site, uid, vmm, &contents));
    let places = making.await;
    let started = match places {
        Ok(places) => {
            let service = unit::Service {
                uid,
                vmm,
                machine,
                helper: &helper,
                places: &places,
                exit: &exit::path(host, uid),
                drives: &drives,
                serial: &files.serial,
            };
            host.systemd
                .start(&name, &service.properties(&host.install))
                .await
        }
        Err(e) => Err(e),
    };
    if let Err(failure) = started {
        // The first failure is the one to tell.
        let _ = host.systemd.kill(&name).await;
        let _ = host.systemd.reset(&name).await;
        let _ = clear(host, uid).await;
        return Err(failure);
    }
    match process::of(host, uid)? {
        Some(process) => Ok(Outcome::Changed(Handle::Vmm(process))),
        None => Err(Failure::later(
            "unit",
            match super::exit(host, uid) {
                Ok(Some(e)) => format!(
                    "{name} ended at once ({} {}): see its log",
                    e.result, e.status
                ),
                Ok(None) => format!("{name} ended at once: see its log"),
                Err(e) => format!("{name} ended at once, and how can't be read: {e}"),
            },
        )),
    }
}
