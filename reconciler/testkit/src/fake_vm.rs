//! What the simulated host holds of one VM, with the kernel's own rules: a
//! device that is in use can't go, and nothing stands on what isn't there.

mod disks;
mod half;
mod inventory;
mod last;
mod trash;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use banger_core::api::virtual_machine::Port;
use banger_core::intent::{Applied, ImageDigest, VmIntent};
use banger_core::observed::{DiskFile, Guest, Instance, ObservedVm, Presence, Root, Vmm};
use banger_core::plan::Step;
use banger_core::record::{Incarnation, VmRecord};
use banger_core::seam::{StepError, VmRef};
use banger_core::trash::Trashed;
use banger_protocol::inventory::{Executable, Exit, Ipv6, Process};
use banger_protocol::{DiskRole, LoopNumber, Sectors, Slot, Ula};
use ipnet::Ipv4Net;
use jiff::Timestamp;

use crate::foreign::Foreign;
use disks::Disk;
use last::Last;
use trash::Shelved;

/// One VM's share of the host.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeVm {
    pub(crate) process: Option<Process>,
    pub(crate) booted: bool,
    pub(crate) paused: bool,
    pub(crate) jail: bool,
    pub(crate) exit: Option<Exit>,
    /// The slot that its tap is named after.
    pub(crate) tap: Option<Slot>,
    /// The tap is on the bridge.
    pub(crate) attached: bool,
    base: Option<(LoopNumber, ImageDigest)>,
    cow: Option<LoopNumber>,
    work: Option<LoopNumber>,
    /// The snapshot's origin, and the snapshot.
    origin: Option<Sectors>,
    root: Option<Sectors>,
    cow_file: Option<Disk>,
    /// The image that the root disk lies over: another one would corrupt it.
    cow_over: Option<ImageDigest>,
    work_file: Option<Disk>,
    /// What is written beside the disks.
    record: Option<Arc<VmRecord>>,
    pub(crate) guest: Guest,
    /// What the guest was given.
    ipv6: Option<Ipv6Addr>,
    pub(crate) ports: Vec<Port>,
    /// Disks that went to the trash.
    pub(crate) trashed: Vec<DiskRole>,
    /// What lies there now.
    pub(crate) trash: Vec<Trashed>,
    /// The images that root disks lie over there, by entry.
    trash_over: BTreeMap<String, ImageDigest>,
    /// The disks of the newest entry that holds the VM as a whole.
    shelf: Option<Shelved>,
    last: Last,
}

/// Numbers that the kernel hands out.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    next: u32,
    pub(crate) ticks: u64,
    /// When what goes to the trash now gets there.
    pub(crate) trashed: Timestamp,
}

impl Numbers {
    fn number(&mut self, free: impl Fn(u32) -> bool) -> u32 {
        loop {
            self.next += 1;
            if free(self.next) {
                return self.next;
            }
        }
    }
}

/// The prefix of a host that chose none.
fn ula() -> Ula {
    Ula::beside(Ipv4Net::new_assert(Ipv4Addr::new(172, 30, 0, 0), 16))
}

fn intent(vm: &VmRef) -> Option<&VmIntent> {
    match vm {
        VmRef::Intended(vm) => Some(vm),
        VmRef::Orphan(_) => None,
    }
}

fn errno(step: &Step, what: &str) -> StepError {
    StepError::transient(format!("{}: {what}", step.describe()))
}

impl FakeVm {
    /// Nothing is left of it.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_off() && self.cow_file.is_none() && self.work_file.is_none()
    }

    /// Nothing of it is left but its disks.
    pub(crate) fn is_off(&self) -> bool {
        self.process.is_none()
            && !self.jail
            && self.tap.is_none()
            && self.base.is_none()
            && self.cow.is_none()
            && self.work.is_none()
            && self.origin.is_none()
            && self.root.is_none()
    }

    /// It has a tap, and that is not on the bridge.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.tap.is_some() && !self.attached
    }

    /// The images that its root disks lie over, in their place and in the
    /// trash: without them they are worth nothing.
    pub(crate) fn lies_over(&self) -> impl Iterator<Item = &ImageDigest> {
        let here = self.cow_file.and(self.cow_over.as_ref());
        here.into_iter().chain(self.trash_over.values())
    }

    /// Somebody removes a disk's file, which no loop device lies over.
    pub(crate) fn lose(&mut self, role: DiskRole) {
        match role {
            DiskRole::Base => {}
            DiskRole::Cow => (self.cow_file, self.cow_over) = (None, None),
            DiskRole::Work => self.work_file = None,
        }
    }

    /// A reboot of the host: files stay, everything in the kernel goes.
    pub(crate) fn reboot(&mut self) {
        *self = Self {
            jail: self.jail,
            cow_file: self.cow_file,
            cow_over: self.cow_over.take(),
            work_file: self.work_file,
            record: self.record.take(),
            trashed: std::mem::take(&mut self.trashed),
            trash: std::mem::take(&mut self.trash),
            trash_over: std::mem::take(&mut self.trash_over),
            shelf: self.shelf.take(),
            last: std::mem::take(&mut self.last),
            ..Self::default()
        };
    }

    /// What is written beside the disks is lost.
    pub(crate) fn lose_record(&mut self) {
        self.record = None;
    }

    /// Which disk of all that there ever were lies in its place.
    pub(crate) fn disk(&self, role: DiskRole) -> Option<u32> {
        let disk = match role {
            DiskRole::Base => None,
            DiskRole::Cow => self.cow_file,
            DiskRole::Work => self.work_file,
        };
        disk.map(|disk| disk.serial)
    }

    /// Writes down, beside the disks, what a guest is started with.
    fn write_start(&mut self, vm: &VmRef, applied: &Applied, process: Process, boot_id: &str) {
        let start = Some(Incarnation {
            boot_id: boot_id.to_owned(),
            process,
        });
        self.record = intent(vm).map(|vm| {
            let mut vm = vm.clone();
            vm.applied = Some(applied.clone());
            Arc::new(VmRecord { start, vm })
        });
    }

    /// The VMM ends.
    pub(crate) fn end(&mut self, result: &str, status: i32) {
        if self.process.take().is_some() {
            (self.booted, self.paused) = (false, false);
            self.exit = Some(Exit {
                result: result.to_owned(),
                status,
            });
            if self.guest != Guest::Leaving {
                self.guest = Guest::Silent;
            }
        }
    }

    pub(crate) fn step(
        &mut self,
        vm: &VmRef,
        step: &Step,
        numbers: &mut Numbers,
        foreign: &mut Foreign,
        boot_id: &str,
    ) -> Result<(), StepError> {
        match step {
            Step::PinImage { .. }
            | Step::RecordStart { .. }
            | Step::RecordExit { .. }
            | Step::Forget => {
                return Err(errno(step, "this step never reaches a host"));
            }
            Step::MakeRootDisk { size } => {
                let image = match vm {
                    VmRef::Intended(vm) => vm.image.clone(),
                    VmRef::Orphan(_) => None,
                };
                if self.cow_file.is_none() {
                    self.cow_over = image;
                } else if self.cow_over != image {
                    return Err(errno(step, "the root disk lies over another image"));
                }
                self.cow_file = Some(Disk::at_least(self.cow_file, size.bytes(), numbers));
                self.record = intent(vm).map(|vm| {
                    let (start, vm) = (None, vm.clone());
                    Arc::new(VmRecord { start, vm })
                });
            }
            Step::MakeWorkDisk { size } => {
                self.work_file = Some(Disk::at_least(self.work_file, size.bytes(), numbers));
            }
            Step::TrashDisk { role } => self.trash(vm, step, *role, numbers)?,
            Step::AttachLoop { role, image } => {
                self.attach(step, *role, image.as_ref(), numbers, foreign)?
            }
            Step::EnsureRoot { size } => self.ensure_root(vm.uid(), step, *size, foreign)?,
            Step::EnsureTap => {
                let vm = intent(vm).ok_or_else(|| errno(step, "no intent"))?;
                let slot = vm.allocation.slot;
                if self.tap.is_none() && foreign.has_tap(&slot.tap()) {
                    let message = format!("{} is not the tap of {}", slot.tap(), vm.uid);
                    return Err(StepError::lasting(message, "nothing is done to it"));
                }
                (self.tap, self.last.tap) = (Some(slot), Some(slot));
                self.attached = true;
            }
            Step::StartVmm { .. } => {
                if self.root.is_none() || self.tap.is_none() {
                    return Err(errno(step, "ENOENT: the root disk or the tap is missing"));
                }
                if self.process.is_none() {
                    let pid = numbers.number(|n| !foreign.has_pid(n));
                    self.process = Some(Process {
                        pid,
                        start_time: numbers.ticks,
                    });
                    self.last.pid = Some(pid);
                    self.jail = true;
                    self.exit = None;
                    self.guest = Guest::Silent;
                    (self.booted, self.paused) = (false, false);
                }
            }
            Step::BootGuest { applied } => {
                let Some(process) = self.process else {
                    return Err(errno(step, "ECONNREFUSED: no VMM"));
                };
                if !self.booted {
                    self.write_start(vm, applied, process, boot_id);
                }
                self.booted = true;
                self.guest = Guest::Ready;
                self.ipv6 = match vm {
                    VmRef::Intended(vm) => Some(ula().guest(vm.allocation.slot)),
                    VmRef::Orphan(_) => None,
                };
            }
            Step::PublishPorts => {
                if let VmRef::Intended(vm) = vm {
                    self.ports.clone_from(&vm.spec.ports);
                }
            }
            Step::UpdateGuest => {
                if !self.booted || self.paused {
                    return Err(errno(step, "ECONNREFUSED: no agent"));
                }
            }
            Step::PauseGuest | Step::ResumeGuest => {
                if !self.booted {
                    return Err(errno(step, "ECONNREFUSED: no guest was started"));
                }
                self.paused = *step == Step::PauseGuest;
            }
            // It can't answer, and nothing is done to it.
            Step::ShutDownGuest { .. } if self.paused => {}
            Step::ShutDownGuest { .. } | Step::KillVmm => {
                if let Some(pid) = self.last.pid {
                    foreign.signal(pid);
                }
                self.end("success", 0);
            }
            Step::RemoveVmm => {
                if self.process.is_some() {
                    return Err(errno(step, "EBUSY: the VMM runs"));
                }
                self.jail = false;
                self.last.pid = None;
                self.exit = None;
                self.ports.clear();
                self.guest = Guest::Silent;
            }
            Step::RemoveTap => {
                if self.process.is_some() {
                    return Err(errno(step, "EBUSY: the VMM holds the tap"));
                }
                // By name: another VM's number finds nothing.
                let named = intent(vm).map(|vm| vm.allocation.slot);
                match (self.tap, named) {
                    (None, Some(slot)) => foreign.remove_tap(&slot.tap()),
                    (had, named) if named.is_none() || named == had => self.tap = None,
                    _ => {}
                }
            }
            Step::RemoveRoot => self.remove_root(vm.uid(), step, foreign)?,
            Step::DetachLoop { role } => self.detach(step, *role, foreign)?,
            Step::KeepRecord => {
                if self.cow_file.is_none() && self.work_file.is_none() {
                    return Err(errno(step, "ENOENT: there are no disks to write it beside"));
                }
                let renewed = |vm| VmRecord::renewed(self.record.as_deref(), vm);
                self.record = intent(vm).map(renewed).map(Arc::new);
            }
            Step::RestoreDisks => self.restore(vm, step)?,
            Step::DropDisks { purge } => self.drop_disks(vm, step, *purge, numbers)?,
        }
        Ok(())
    }

    pub(crate) fn observed(&self, far: Ipv6) -> ObservedVm {
        fn presence<T>(thing: Option<T>) -> Presence<T> {
            thing.map_or(Presence::Absent, Presence::Present)
        }
        let file =
            |disk: Option<Disk>| presence(disk.map(|Disk { length, .. }| DiskFile { length }));
        let instance = match (self.booted, self.paused) {
            (false, _) => Instance::NotStarted,
            (true, false) => Instance::Running,
            (true, true) => Instance::Paused,
        };
        ObservedVm {
            vmm: presence(self.process.map(|process| Vmm {
                process,
                instance,
                executable: Presence::Present(Executable::Installed),
            })),
            exit: self.exit.clone(),
            jail: presence(self.jail.then_some(())),
            tap: presence(self.tap.map(|_| 1)),
            slot: self.tap,
            base_loop: presence(self.base.as_ref().map(|(device, _)| *device)),
            cow_loop: presence(self.cow),
            work_loop: presence(self.work),
            origin: presence(self.origin.map(|_| ())),
            root: presence(self.root.map(|size| Root {
                node: "/dev/dm-0".into(),
                size,
                overflow: false,
            })),
            cow_file: file(self.cow_file),
            work_file: file(self.work_file),
            record: self.record.clone(),
            guest: self.guest.clone(),
            ipv6: self
                .ipv6
                .filter(|_| far == Ipv6::Bridge && self.guest == Guest::Ready),
            ports: self.ports.clone(),
        }
    }
}
