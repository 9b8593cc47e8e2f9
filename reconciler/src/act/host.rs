//! The real host behind the seam.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use banger_core::api::status::VmHandles;
use banger_core::intent::{ImageDigest, ImageIntent, Imported, VmIntent};
use banger_core::inventory::{Holdings, Leftover};
use banger_core::observed::{Guest, Instance, Observed, Presence, vm_alive};
use banger_core::plan::{HostStep, Step};
use banger_core::pressure::{DiskLimits, Room};
use banger_core::seam::{Host, StepError, VmRef};
use banger_core::trash::{Trashed, pinned};
use banger_protocol::inventory::{Probe, Process};
use banger_protocol::{Install, Inventory, Ula, VmUid, install};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::layout::Layout;
use super::shared::{Attendants, Shared};
use super::writeback::Writeback;
use super::{
    failure, files, meminfo, network, record, reserve, root_disk, serial_log, trash, trash_list,
    work_disk,
};
use crate::guest::known_hosts;
use crate::guest::own_files::OwnFiles;
use crate::guest::owner_key::OwnerKey;
use crate::helper_client::HelperClient;
use crate::observe::files::StateFiles;
use crate::observe::{assemble, handles};

/// What a [`RealHost`] is made of.
#[derive(Clone, Debug)]
pub struct RealHostOptions {
    /// What `banger system install` decided.
    pub install: Install,
    /// Disks and images; the owner's.
    pub state_dir: PathBuf,
    /// Whether guests ask the bridge for names.
    pub dns: bool,
    /// The prefix of guests' IPv6 addresses; `None`: they have none.
    pub ula: Option<Ula>,
    /// The owner's home, for what `banger vm ssh` needs: its key, guests' host keys.
    pub home: PathBuf,
    /// Whether guests may be given files of `~/.ssh`.
    pub allow_ssh: bool,
    /// The helper's socket.
    pub helper_socket: PathBuf,
    /// Sockets of the VMMs, `vms/<uid>` below it.
    pub runtime_dir: PathBuf,
    /// What is done as the disk fills up.
    pub disk: DiskLimits,
}

impl RealHostOptions {
    /// As installed, for the owner with this home.
    pub fn installed(install: Install, home: PathBuf) -> Self {
        Self {
            state_dir: install.state_dir.clone(),
            ula: Some(install.ula()),
            install,
            dns: true,
            home,
            allow_ssh: false,
            helper_socket: install::HELPER_SOCKET.into(),
            runtime_dir: install::RUNTIME_DIR.into(),
            disk: DiskLimits::default(),
        }
    }
}

/// This machine.
pub struct RealHost {
    shared: Arc<Shared>,
    _keepers: [AbortOnDropHandle<()>; 2],
}

impl RealHost {
    /// A host; must be called within a tokio runtime. Nothing is done yet.
    pub fn new(options: RealHostOptions) -> Self {
        let shared = Arc::new(Shared {
            layout: Layout::new(
                options.state_dir,
                options.runtime_dir,
                options.home.join(known_hosts::DIRECTORY),
            ),
            helper: HelperClient::new(options.helper_socket),
            install: options.install,
            dns: options.dns,
            ula: options.ula,
            ipv6: AtomicBool::new(false),
            handles: handles::HandleCache::default(),
            instances: crate::observe::Instances::default(),
            attendants: Attendants::default(),
            attending: tokio::sync::Mutex::new(()),
            owner_key: OwnerKey::of_home(&options.home),
            own_files: OwnFiles {
                home: options.home,
                allow_ssh: options.allow_ssh,
            },
            changed: Arc::new(Notify::new()),
            exits: super::exit_watch::ExitWatch::default(),
            disk: options.disk,
            unbacked: AtomicU64::new(0),
            any_paused: AtomicBool::new(false),
            trash: trash_list::TrashCache::default(),
            writeback: Writeback::default(),
        });
        let serial_logs = tokio::spawn(serial_log::keep_short(Arc::downgrade(&shared)));
        let reserves = tokio::spawn(reserve::keep(Arc::downgrade(&shared)));
        Self {
            shared,
            _keepers: [serial_logs, reserves].map(AbortOnDropHandle::new),
        }
    }

    /// Where everything stands.
    pub fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    /// The root helper.
    pub fn helper(&self) -> &HelperClient {
        &self.shared.helper
    }

    /// What the kernel holds for a VM, as last seen.
    pub fn handles(&self, uid: VmUid) -> VmHandles {
        self.shared.handles.get(uid).status(uid)
    }

    /// Everything of the inventory that runs.
    fn running(inventory: &Inventory) -> Vec<(VmUid, Process)> {
        match &inventory.vmms {
            Probe::Known(vmms) => vmms
                .iter()
                .filter_map(|vmm| vmm.process.map(|process| (vmm.uid, process)))
                .collect(),
            Probe::Unknown(_) => Vec::new(),
        }
    }

    /// Does what changes the trash, unless that is away. The list is read anew
    /// afterwards, even if it was being read meanwhile.
    async fn changing_trash(
        &self,
        work: impl FnOnce() -> Result<(), StepError> + Send + 'static,
    ) -> Result<(), StepError> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            shared.trash.refuse_missing(&shared.layout, false)?;
            work()
        };
        let done = failure::blocking(work).await;
        self.shared.trash.changed();
        done
    }

    /// Watches and attends what runs, and takes over what agents said.
    async fn listen_in(&self, observed: &mut Observed, vms: &[VmIntent]) {
        let ipv6 = self.shared.has_ipv6();
        self.shared.note_paused(observed);
        for (uid, vm) in &mut observed.vms {
            let Presence::Present(vmm) = &vm.vmm else {
                continue;
            };
            let process = vmm.process;
            self.shared.watch_exit(*uid, process);
            let attended = |shared: &Shared| {
                let attendant = shared.attendants.get(*uid);
                attendant.filter(|attendant| attendant.process == process)
            };
            let mut attendant = attended(&self.shared);
            if attendant.is_none()
                && vmm.instance == Instance::Running
                && let Some(intent) = vms.iter().find(|intent| intent.uid == *uid)
            {
                self.shared.adopt(intent, process).await;
                attendant = attended(&self.shared);
            }
            if let Some(attendant) = attendant {
                attendant.hold_pulse(vmm.instance == Instance::Paused);
                vm.ports = attendant.published.ports();
                vm.ipv6 = attendant.ipv6().filter(|_| ipv6);
                let word = attendant.word();
                // That it is leaving was also written down: a later daemon knows it.
                if word != Guest::Silent {
                    vm.guest = word;
                }
            }
        }
        let running = |uid| vm_alive(observed.vm(uid)) == Some(true);
        self.shared.exits.retain(running);
    }
}

impl Host for RealHost {
    async fn observe(&self, vms: &[VmIntent]) -> Observed {
        let shared = &self.shared;
        let mark = shared.handles.mark();
        let layout = shared.layout.clone();
        let known = vms.iter().any(|vm| vm.applied.is_some());
        let (inventory, files) = tokio::join!(
            shared.helper.inventory(),
            tokio::task::spawn_blocking(move || StateFiles::read(&layout, known)),
        );
        let inventory = inventory.map_err(|error| match error.remedy() {
            Some(remedy) => format!("{}: {remedy}", error.chain()),
            None => error.chain(),
        });
        let files = files.unwrap_or_else(|error| StateFiles {
            vms: Err(error.to_string()),
            images: Err(error.to_string()),
        });
        let instances = match &inventory {
            Ok(inventory) => {
                let running = Self::running(inventory);
                shared.instances.of(&shared.layout, running).await
            }
            Err(_) => std::collections::BTreeMap::new(),
        };
        let boot_id = match &inventory {
            Ok(inventory) => inventory.boot_id.clone(),
            Err(_) => boot_id(),
        };
        let mut observed = assemble(boot_id, &inventory, &files, &instances, vms);
        if let Ok(inventory) = &inventory {
            let seen = handles::of_inventory(inventory);
            let boot_id = &inventory.boot_id;
            shared.handles.rebuild(mark, boot_id, seen, &shared.layout);
        }
        observed.trash = match self.trash(false).await {
            Ok(entries) => Presence::Present(pinned(&entries)),
            Err(error) => Presence::Unknown(error.message),
        };
        observed.room = self.shared.room().await;
        if observed.ipv6.unknown().is_none() {
            shared.ipv6.store(observed.has_ipv6(), Ordering::Relaxed);
        }
        if let Presence::Present(obstacles) = &mut observed.obstacles {
            let (dns, ipv6) = (shared.dns, shared.has_ipv6());
            obstacles.retain(|obstacle| network::concerns_guests(obstacle, dns, ipv6));
        }
        self.listen_in(&mut observed, vms).await;
        observed
    }

    async fn host_step(&self, step: &HostStep) -> Result<(), StepError> {
        match step {
            HostStep::EnsureBridge { ipv6 } => self.shared.ensure_bridge(*ipv6).await,
            HostStep::EnsureNat { policy } => self.shared.ensure_nat(policy.clone()).await,
            HostStep::EnsurePool { size, parallel } => {
                self.shared.ensure_pool(*size, *parallel).await
            }
            HostStep::EnsureBallast { size } => self.shared.ensure_ballast(*size).await,
            HostStep::ReleaseBallast => self.shared.release_ballast().await,
        }
    }

    async fn vm_step(&self, vm: &VmRef, step: &Step) -> Result<(), StepError> {
        let shared = &self.shared;
        let uid = vm.uid();
        let layout = shared.layout.clone();
        let intent = || intended(vm, step);
        match step {
            Step::MakeRootDisk { size } => {
                let (size, vm) = (*size, intent()?.clone());
                let make = move || {
                    root_disk::make(&layout, uid, size)?;
                    record::write(&layout, vm, None);
                    Ok(())
                };
                failure::blocking(make).await
            }
            Step::MakeWorkDisk { size } => work_disk::make(&layout, uid, *size).await,
            Step::TrashDisk { role } => {
                let (vm, role) = (vm.clone(), *role);
                let work = move || trash::disk(&layout, &vm, role, Timestamp::now());
                self.changing_trash(work).await
            }
            Step::KeepRecord => {
                let vm = intent()?.clone();
                failure::blocking(move || record::renew(&layout, &vm)).await
            }
            Step::RestoreDisks => {
                let vm = vm.clone();
                let work = move || trash_list::restore(&layout, &vm);
                self.changing_trash(work).await
            }
            Step::DropDisks { purge: true } => {
                let work = move || {
                    forget_host_keys(&layout, uid)?;
                    trash::purge(&layout, uid)
                };
                failure::blocking(work).await
            }
            Step::DropDisks { purge: false } => {
                let vm = vm.clone();
                let work = move || {
                    forget_host_keys(&layout, uid)?;
                    trash::all(&layout, &vm, Timestamp::now())
                };
                self.changing_trash(work).await
            }
            Step::AttachLoop { role, image } => {
                shared.attach_loop(uid, *role, image.as_ref()).await
            }
            Step::DetachLoop { role } => shared.detach_loop(uid, *role).await,
            Step::EnsureRoot { size } => shared.ensure_root(uid, *size).await,
            Step::RemoveRoot => shared.remove_root(uid).await,
            Step::EnsureTap => shared.ensure_tap(intent()?).await,
            Step::RemoveTap => shared.remove_tap(vm).await,
            Step::StartVmm { image } => shared.start_vmm(intent()?, image).await,
            Step::BootGuest { applied } => shared.boot_guest(intent()?, applied).await,
            Step::PublishPorts => publish_ports(shared, intent()?).await,
            Step::UpdateGuest => shared.update_guest(intent()?).await,
            Step::ShutDownGuest { grace_seconds } => {
                shared.shut_down_guest(uid, *grace_seconds).await
            }
            Step::PauseGuest => shared.pause_guest(uid).await,
            Step::ResumeGuest => shared.resume_guest(uid).await,
            Step::KillVmm => shared.kill_vmm(uid).await,
            Step::RemoveVmm => shared.remove_vmm(uid).await,
            Step::PinImage { .. }
            | Step::RecordStart { .. }
            | Step::RecordExit { .. }
            | Step::Forget => Err(StepError::lasting(
                format!(
                    "{} is the store's business and reached the host",
                    step.describe()
                ),
                "report this as a bug of banger",
            )),
        }
    }

    async fn import(
        &self,
        image: &ImageIntent,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Imported, StepError> {
        self.shared.import(image, progress).await
    }

    async fn remove_image(&self, digest: &ImageDigest) -> Result<(), StepError> {
        self.shared.remove_image(digest).await
    }

    async fn trash(&self, known: bool) -> Result<Arc<Vec<Trashed>>, StepError> {
        let shared = Arc::clone(&self.shared);
        failure::blocking(move || shared.trash.list(&shared.layout, known)).await
    }

    async fn empty_trash(&self, id: &str) -> Result<(), StepError> {
        let (layout, id) = (self.shared.layout.clone(), id.to_owned());
        let work = move || trash_list::empty(&layout, &id);
        self.changing_trash(work).await
    }

    async fn holdings(&self) -> Holdings {
        self.shared.holdings().await
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<(), StepError> {
        self.shared.remove_leftover(leftover).await
    }

    async fn room(&self) -> Presence<Room> {
        self.shared.room().await
    }

    fn available_memory(&self) -> Option<u64> {
        let bytes = meminfo::read().and_then(|now| now.bytes("MemAvailable"));
        bytes
            .inspect_err(|error| tracing::warn!(%error, "what memory is available is unknown"))
            .ok()
    }

    async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

fn intended<'a>(vm: &'a VmRef, step: &Step) -> Result<&'a VmIntent, StepError> {
    match vm {
        VmRef::Intended(intent) => Ok(intent),
        VmRef::Orphan(_) => Err(StepError::lasting(
            format!("{} was asked for a VM without intent", step.describe()),
            "report this as a bug of banger",
        )),
    }
}

/// They are pinned anew when the guest is ready again, should its disks come back.
fn forget_host_keys(layout: &Layout, uid: VmUid) -> Result<(), StepError> {
    let path = layout.known_hosts(uid);
    files::remove(&path).map_err(|error| failure::file("remove", &path, error))
}

async fn publish_ports(shared: &Shared, vm: &VmIntent) -> Result<(), StepError> {
    match shared.attendants.get(vm.uid) {
        Some(attendant) => {
            let published = &attendant.published;
            Ok(published
                .publish(&vm.spec.ports, vm.allocation.address)
                .await?)
        }
        None if vm.spec.ports.is_empty() => Ok(()),
        None => Err(StepError::transient(
            "ports can't be published: the VM isn't running",
        )),
    }
}

/// The host's boot id; empty where it can't be read.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
