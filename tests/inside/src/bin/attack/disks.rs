//! Files and devices that aren't what they are given out for.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail, ensure};
use banger_helper::client::Client;
use banger_protocol::inventory::Probe;
use banger_protocol::{DiskRole, Handle, LoopNumber, Request, Response, Sectors, Slot};
use rustix::fs::RenameFlags;

use super::{Attack, refused, socket, uid};

/// How often a file is swapped for another one.
const SWAPS: usize = 40;

impl Attack {
    pub(super) fn disks(&self) -> Result<()> {
        for (what, descriptor) in self.odd()? {
            for role in [DiskRole::Cow, DiskRole::Work, DiskRole::Base] {
                let request = Request::EnsureLoop { uid: uid(1), role };
                refused(what, &request, &[descriptor.as_fd()])?;
            }
        }
        // Readable is not writable.
        self.own("read-only")?;
        let read_only = File::open(self.work.join("read-only"))?;
        let request = Request::EnsureLoop {
            uid: uid(1),
            role: DiskRole::Cow,
        };
        refused(
            "a disk that is only readable",
            &request,
            &[read_only.as_fd()],
        )
    }

    pub(super) fn boot_files(&self) -> Result<()> {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.work.join("serial.log"))?;
        for (what, descriptor) in self.odd()? {
            let request = Request::StartVmm {
                uid: uid(1),
                slot: Slot::try_from(self.arguments.victim_slot + 1)?,
                memory_mib: 128,
                vcpus: 1,
                work_disk: false,
            };
            let bad = descriptor.as_fd();
            refused(what, &request, &[bad, bad, log.as_fd()])?;
        }
        Ok(())
    }

    pub(super) fn devices(&self) -> Result<()> {
        let size = Sectors::from_bytes(1 << 20);
        let (victim, foreign) = (self.victim_loop(), self.foreign_loop());
        for (what, base, cow) in [
            ("another VM's loop", victim, victim),
            ("nobody's loop", foreign, foreign),
            ("nobody's loop under another VM's", foreign, victim),
        ] {
            refused(
                what,
                &Request::EnsureDm {
                    uid: uid(1),
                    base,
                    cow,
                    size,
                },
                &[],
            )?;
        }
        Ok(())
    }

    /// A device that another VM got meanwhile isn't taken from it.
    pub(super) fn replay(&self) -> Result<()> {
        let mut client = Client::connect(socket())?;
        let mut attach = |n: u128, name: &str| -> Result<LoopNumber> {
            let disk = self.own(name)?;
            let request = Request::EnsureLoop {
                uid: uid(n),
                role: DiskRole::Cow,
            };
            match client.call(&request, &[disk.as_fd()])? {
                Response::Changed {
                    handle: Handle::Loop(device),
                } => Ok(device),
                answer => bail!("{request:?} was answered with {answer:?}"),
            }
        };
        let first = attach(2, "two")?;
        let removal = Request::RemoveLoop {
            uid: uid(2),
            role: DiskRole::Cow,
            device: first,
        };
        let mut once = Client::connect(socket())?;
        once.call(&removal, &[])?;
        let second = attach(3, "three")?;
        let again = once.call(&removal, &[])?;
        let hers = Request::RemoveLoop {
            uid: uid(3),
            role: DiskRole::Cow,
            device: second,
        };
        let gone = once.call(&hers, &[])?;
        ensure!(
            !matches!(again, Response::Changed { .. }) && matches!(gone, Response::Changed { .. }),
            "loop {first:?} then {second:?}; the removal again: {again:?}; the right one: {gone:?}"
        );
        Ok(())
    }

    /// The name leads to another account's file by turns. What becomes a disk is
    /// what was sent, looked at and found to be the owner's.
    pub(super) fn swapped(&self) -> Result<()> {
        let name = self.work.join("swapped");
        let foreign = self.arguments.state.join("foreign.img");
        let own = self.own("swapped")?.metadata()?;
        let request = Request::EnsureLoop {
            uid: uid(4),
            role: DiskRole::Base,
        };
        let swap = || {
            rustix::fs::renameat_with(
                rustix::fs::CWD,
                &name,
                rustix::fs::CWD,
                &foreign,
                RenameFlags::EXCHANGE,
            )
        };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                let mut swaps = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    swap()?;
                    swaps += 1;
                }
                // Each is where it was.
                if swaps % 2 == 1 {
                    swap()?;
                }
                Ok::<_, anyhow::Error>(())
            });
            let tried =
                (0..self.times(SWAPS)).try_for_each(|_| attach_swapped(&name, &request, own.ino()));
            stop.store(true, Ordering::Relaxed);
            let swapped = swapping.join();
            tried?;
            swapped.map_err(|_| anyhow::anyhow!("the swaps died"))?
        })
    }
}

/// Sends what is under the name now. Refused, or over the file of ours.
fn attach_swapped(name: &Path, request: &Request, own: u64) -> Result<()> {
    let Ok(file) = File::open(name) else {
        return Ok(());
    };
    let mut client = Client::connect(socket())?;
    let device = match client.call(request, &[file.as_fd()])? {
        Response::Error { error } if error.step == "descriptor" => return Ok(()),
        Response::Changed {
            handle: Handle::Loop(device),
        }
        | Response::Unchanged {
            handle: Handle::Loop(device),
        } => device,
        answer => bail!("it answered {answer:?}"),
    };
    let seen = match client.call(&Request::Inventory {}, &[])? {
        Response::Inventory { inventory } => inventory.loops,
        answer => bail!("it answered {answer:?}"),
    };
    let removal = Request::RemoveLoop {
        uid: uid(4),
        role: DiskRole::Base,
        device,
    };
    client.call(&removal, &[])?;
    let Probe::Known(loops) = seen else {
        bail!("loops are unknown");
    };
    let inode = loops.iter().find(|it| it.device == device);
    ensure!(
        inode.is_some_and(|it| it.backing_inode == own),
        "loop {device:?} is over another file: {inode:?}"
    );
    Ok(())
}
