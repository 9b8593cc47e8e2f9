//! The VMM process: start, kill, remove.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use banger_core::intent::{ImageDigest, VmIntent};
use banger_core::seam::StepError;
use banger_protocol::install::socket;
use banger_protocol::inventory::Process;
use banger_protocol::{Handle, Request, VmUid};
use rustix::fs::{Mode, OFlags};

use super::disks::{open_image_file, unexpected};
use super::failure;
use super::files;
use super::layout::Layout;
use super::shared::Shared;
use crate::firecracker::socket::connect;
use crate::observe::process::Alive;

/// How long Firecracker may take from its start to its API.
const API: Duration = Duration::from_secs(30);
/// Between two looks at its socket: the time from `bind` to `listen` can't be
/// waited for otherwise.
const LOOK: Duration = Duration::from_millis(10);

impl Shared {
    pub(super) async fn start_vmm(
        self: &Arc<Self>,
        vm: &VmIntent,
        image: &ImageDigest,
    ) -> Result<(), StepError> {
        let uid = vm.uid;
        self.attendants.dismiss(uid);
        let of_last_run = [self.layout.known_hosts(uid), self.layout.leaving(uid)];
        for path in of_last_run {
            files::remove(&path).map_err(|error| failure::file("remove", &path, error))?;
        }
        if !Layout::is_digest(image) {
            return Err(StepError::lasting(
                format!("`{}` is not an image digest", image.0),
                "report this as a bug of banger",
            ));
        }
        let descriptors = vec![
            open_image_file(&self.layout.kernel(image))?,
            open_image_file(&self.layout.initrd(image))?,
            self.open_serial_log(uid)?,
        ];
        let memory = vm.spec.memory.mib();
        let request = Request::StartVmm {
            uid,
            slot: vm.allocation.slot,
            memory_mib: u32::try_from(memory).map_err(|_| {
                StepError::lasting(
                    format!("spec.memory of {memory} MiB is more than Firecracker takes"),
                    "write less",
                )
            })?,
            vcpus: vm.spec.vcpus,
            work_disk: self.has_work_disk(vm).await?,
        };
        let process = match self.helper.ensure(request, descriptors).await? {
            Handle::Vmm(process) => process,
            other => return Err(unexpected("start-vmm", &other)),
        };
        self.handles.change(&self.layout, uid, |handles| {
            handles.process = Some(process);
        });
        self.watch_exit(uid, process);
        self.wait_for_api(uid, process).await
    }

    pub(super) async fn kill_vmm(&self, uid: VmUid) -> Result<(), StepError> {
        self.helper
            .ensure(Request::KillVmm { uid }, Vec::new())
            .await?;
        self.attendants.dismiss(uid);
        self.handles
            .change(&self.layout, uid, |handles| handles.process = None);
        Ok(())
    }

    pub(super) async fn remove_vmm(&self, uid: VmUid) -> Result<(), StepError> {
        self.helper
            .ensure(Request::RemoveVmm { uid }, Vec::new())
            .await?;
        self.attendants.dismiss(uid);
        let leaving = self.layout.leaving(uid);
        files::remove(&leaving).map_err(|error| failure::file("remove", &leaving, error))
    }

    async fn wait_for_api(&self, uid: VmUid, process: Process) -> Result<(), StepError> {
        let ended = || {
            StepError::transient("Firecracker ended before its API answered")
                .with_remedy(format!("look at `journalctl -u {}`", uid.unit()))
        };
        let held = Alive::hold(process)
            .map_err(|error| StepError::transient(format!("hold on to Firecracker: {error}")))?;
        let alive = held.ok_or_else(ended)?;
        let sockets = self.layout.sockets(uid);
        let answers = async {
            loop {
                match connect(&sockets, socket::API).await {
                    Ok(_) => return,
                    Err(_) => tokio::time::sleep(LOOK).await,
                }
            }
        };
        tokio::select! {
            () = answers => Ok(()),
            _ = alive.exited() => Err(ended()),
            () = tokio::time::sleep(API) => Err(StepError::transient(format!(
                "Firecracker's API did not answer within {} s", API.as_secs()
            )).with_remedy(format!("look at `journalctl -u {}`", uid.unit()))),
        }
    }

    /// Appending, so that it may be shortened under the VMM that writes to it.
    fn open_serial_log(&self, uid: VmUid) -> Result<OwnedFd, StepError> {
        let path = self.layout.serial_log(uid);
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| failure::file("open the serial log", &path, error.into()))
    }
}

/// Adds what to do to an error.
trait WithRemedy {
    fn with_remedy(self, remedy: String) -> Self;
}

impl WithRemedy for StepError {
    fn with_remedy(mut self, remedy: String) -> Self {
        self.remedy = Some(remedy);
        self
    }
}
