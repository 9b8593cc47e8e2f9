//! Loop devices and the snapshot.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use banger_core::intent::{ImageDigest, VmIntent};
use banger_core::seam::StepError;
use banger_protocol::inventory::Probe;
use banger_protocol::{DiskRole, Handle, LoopNumber, Request, Sectors, VmUid};
use rustix::fs::{Mode, OFlags};

use super::failure;
use super::layout::Layout;
use super::shared::Shared;

impl Shared {
    pub(super) async fn attach_loop(
        &self,
        uid: VmUid,
        role: DiskRole,
        image: Option<&ImageDigest>,
    ) -> Result<(), StepError> {
        let path = self.disk_path(uid, role, image)?;
        let file = open_disk(&path, role)?;
        let request = Request::EnsureLoop { uid, role };
        match self.helper.ensure(request, vec![file]).await? {
            Handle::Loop(device) => {
                self.handles.change(&self.layout, uid, |handles| {
                    handles.loops.insert(role, device);
                });
                Ok(())
            }
            other => Err(unexpected("ensure-loop", &other)),
        }
    }

    pub(super) async fn detach_loop(&self, uid: VmUid, role: DiskRole) -> Result<(), StepError> {
        let Some(device) = self.loop_of(uid, role).await? else {
            return Ok(());
        };
        let request = Request::RemoveLoop { uid, role, device };
        self.helper.ensure(request, Vec::new()).await?;
        self.handles.change(&self.layout, uid, |handles| {
            handles.loops.remove(&role);
        });
        Ok(())
    }

    pub(super) async fn ensure_root(&self, uid: VmUid, size: Sectors) -> Result<(), StepError> {
        let missing = |role: DiskRole| {
            let role = role.as_str();
            StepError::transient(format!("the {role} loop of the root disk is not attached"))
        };
        let (base, cow) = (DiskRole::Base, DiskRole::Cow);
        let request = Request::EnsureDm {
            uid,
            base: self
                .loop_of(uid, base)
                .await?
                .ok_or_else(|| missing(base))?,
            cow: self.loop_of(uid, cow).await?.ok_or_else(|| missing(cow))?,
            size,
        };
        match self.helper.ensure(request, Vec::new()).await? {
            Handle::Dm(node) => {
                self.handles
                    .change(&self.layout, uid, |handles| handles.root = Some(node));
                Ok(())
            }
            other => Err(unexpected("ensure-dm", &other)),
        }
    }

    pub(super) async fn remove_root(&self, uid: VmUid) -> Result<(), StepError> {
        self.helper
            .ensure(Request::RemoveDm { uid }, Vec::new())
            .await?;
        self.handles
            .change(&self.layout, uid, |handles| handles.root = None);
        Ok(())
    }

    /// Whether the VM starts with a work disk: whether one was attached for it.
    /// The spec alone doesn't tell, because a removal that nobody confirmed is held.
    pub(super) async fn has_work_disk(&self, vm: &VmIntent) -> Result<bool, StepError> {
        let applied = vm.applied.as_ref();
        if vm.spec.work_disk.is_none() && applied.is_none_or(|a| a.spec.work_disk.is_none()) {
            return Ok(false);
        }
        Ok(self.loop_of(vm.uid, DiskRole::Work).await?.is_some())
    }

    /// The loop as the handles have it, or else as the kernel has it.
    async fn loop_of(&self, uid: VmUid, role: DiskRole) -> Result<Option<LoopNumber>, StepError> {
        if let Some(device) = self.handles.get(uid).loops.get(&role) {
            return Ok(Some(*device));
        }
        match self.helper.inventory().await?.loops {
            Probe::Known(loops) => Ok(loops
                .iter()
                .find(|found| found.uid == uid && found.role == role)
                .map(|found| found.device)),
            Probe::Unknown(why) => Err(StepError::transient(format!(
                "the loop devices can't be read: {why}"
            ))),
        }
    }

    fn disk_path(
        &self,
        uid: VmUid,
        role: DiskRole,
        image: Option<&ImageDigest>,
    ) -> Result<PathBuf, StepError> {
        if let Some(path) = self.layout.disk(uid, role) {
            return Ok(path);
        }
        let image = image.filter(|digest| Layout::is_digest(digest));
        image
            .map(|digest| self.layout.rootfs(digest))
            .ok_or_else(|| {
                StepError::lasting(
                    "the base loop needs an image and the step names none",
                    "report this as a bug of banger",
                )
            })
    }
}

/// Opens a disk as the helper wants it: the file itself, writable unless it is the base.
fn open_disk(path: &Path, role: DiskRole) -> Result<OwnedFd, StepError> {
    let access = if role.read_only() {
        OFlags::RDONLY
    } else {
        OFlags::RDWR
    };
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| failure::file("open the disk", path, error.into()))
}

/// Opens a file of an image for reading.
pub(super) fn open_image_file(path: &Path) -> Result<OwnedFd, StepError> {
    File::open(path)
        .map(OwnedFd::from)
        .map_err(|error| failure::file("open the image's file", path, error))
}

/// The helper answered with a handle of another kind.
pub(super) fn unexpected(op: &str, handle: &Handle) -> StepError {
    StepError::lasting(
        format!("banger's helper answered {op} with {handle:?}"),
        "install helper and daemon of the same version: `sudo banger system install`",
    )
}
