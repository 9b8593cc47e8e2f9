//! The patience that the daemon's loop has: what failed is done once more.

use std::sync::Arc;

use banger_core::intent::{ImageDigest, ImageIntent, Imported, VmIntent};
use banger_core::inventory::{Holdings, Leftover};
use banger_core::observed::{Observed, Presence};
use banger_core::plan::{HostStep, Step};
use banger_core::pressure::Room;
use banger_core::seam::{Host, StepError, VmRef};
use banger_core::trash::Trashed;

use super::Line;

/// A host behind a [`Line`]: whatever was under way when that was cut is done again.
#[derive(Debug)]
pub struct Again<H> {
    /// The host.
    pub host: H,
    /// What it asks the helper by.
    pub line: Line,
}

macro_rules! again {
    ($self:ident, $call:expr) => {{
        let first = $call;
        match $self.line.mend() {
            true => $call,
            false => first,
        }
    }};
}

impl<H: Host> Host for Again<H> {
    async fn observe(&self, vms: &[VmIntent]) -> Observed {
        again!(self, self.host.observe(vms).await)
    }

    async fn host_step(&self, step: &HostStep) -> Result<(), StepError> {
        again!(self, self.host.host_step(step).await)
    }

    async fn vm_step(&self, vm: &VmRef, step: &Step) -> Result<(), StepError> {
        again!(self, self.host.vm_step(vm, step).await)
    }

    async fn import(
        &self,
        image: &ImageIntent,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Imported, StepError> {
        again!(self, self.host.import(image, progress).await)
    }

    async fn remove_image(&self, digest: &ImageDigest) -> Result<(), StepError> {
        again!(self, self.host.remove_image(digest).await)
    }

    async fn trash(&self, known: bool) -> Result<Arc<Vec<Trashed>>, StepError> {
        again!(self, self.host.trash(known).await)
    }

    async fn empty_trash(&self, id: &str) -> Result<(), StepError> {
        again!(self, self.host.empty_trash(id).await)
    }

    async fn holdings(&self) -> Holdings {
        again!(self, self.host.holdings().await)
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<(), StepError> {
        again!(self, self.host.remove_leftover(leftover).await)
    }

    async fn room(&self) -> Presence<Room> {
        again!(self, self.host.room().await)
    }

    fn available_memory(&self) -> Option<u64> {
        self.host.available_memory()
    }

    async fn changed(&self) {
        self.host.changed().await;
    }
}
