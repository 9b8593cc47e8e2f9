//! The seam itself: looks and calls, and the faults that they meet.

use std::sync::Arc;

use banger_core::intent::{ImageDigest, ImageIntent, Imported, VmIntent};
use banger_core::inventory::{Holdings, Leftover};
use banger_core::observed::{Observed, Presence};
use banger_core::plan::{HostStep, Step};
use banger_core::pressure::Room;
use banger_core::seam::{Host, StepError, VmRef};
use banger_core::trash::Trashed;

use super::FakeHost;
use super::look::nothing_held;
use crate::faults::{Trouble, heard};

impl Host for FakeHost {
    async fn holdings(&self) -> Holdings {
        let entered = self.faults.enter("listing", false);
        let seen = self.do_holdings();
        let left = entered.and_then(|when| self.faults.leave("listing", when));
        match heard(left).await {
            Ok(()) => seen,
            Err(why) => nothing_held(&why),
        }
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<(), StepError> {
        let name = "removing a leftover";
        let removed = self.faults.enter(name, false).and_then(|when| {
            self.state().extras.remove(leftover);
            self.faults.leave(name, when)
        });
        heard(removed).await.map_err(StepError::transient)
    }

    async fn observe(&self, _vms: &[VmIntent]) -> Observed {
        let entered = self.faults.enter("observing", false);
        let seen = self.do_observe();
        let left = entered.and_then(|when| self.faults.leave("observing", when));
        match heard(left).await {
            Ok(()) => seen,
            Err(why) => Observed::unknown(seen.boot_id, &why),
        }
    }

    async fn host_step(&self, step: &HostStep) -> Result<(), StepError> {
        in_time(self.host_step_call(step)).await
    }

    async fn vm_step(&self, vm: &VmRef, step: &Step) -> Result<(), StepError> {
        let _inside = self.acted_on.enter();
        let pace = self.state().pace;
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        in_time(self.vm_step_call(vm, step)).await
    }

    async fn import(
        &self,
        image: &ImageIntent,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Imported, StepError> {
        progress(1, 2);
        let imported = in_time(self.import_call(image)).await?;
        progress(2, 2);
        Ok(imported)
    }

    async fn remove_image(&self, digest: &ImageDigest) -> Result<(), StepError> {
        in_time(self.remove_image_call(digest)).await
    }

    async fn trash(&self, known: bool) -> Result<Arc<Vec<Trashed>>, StepError> {
        let name = "reading the trash";
        let seen = self.faults.enter(name, false).and_then(|when| {
            let away = self.state().trash_away;
            let seen = match (away, known) {
                (true, true) => Err(StepError::transient("ENOENT: the trash isn't there")),
                (true, false) => Ok(Arc::default()),
                (false, _) => self.do_trash(),
            };
            self.faults.leave(name, when).map(|()| seen)
        });
        heard(seen).await.map_err(StepError::transient)?
    }

    async fn empty_trash(&self, id: &str) -> Result<(), StepError> {
        let name = "emptying the trash";
        let emptied = self.faults.enter(name, false).and_then(|when| {
            self.do_empty_trash(id);
            self.faults.leave(name, when)
        });
        heard(emptied).await.map_err(StepError::transient)
    }

    async fn room(&self) -> Presence<Room> {
        let name = "looking at the room";
        let seen = self.faults.enter(name, false).and_then(|when| {
            let seen = self.do_room();
            self.faults.leave(name, when).map(|()| seen)
        });
        heard(seen).await.unwrap_or_else(Presence::Unknown)
    }

    fn available_memory(&self) -> Option<u64> {
        self.state().memory
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}

async fn in_time<T>(answer: Result<Result<T, StepError>, Trouble>) -> Result<T, StepError> {
    match heard(answer).await {
        Ok(done) => done,
        Err(message) => Err(StepError::transient(message)),
    }
}
