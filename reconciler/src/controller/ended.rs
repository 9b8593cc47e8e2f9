//! After the loop: nothing is started any more.

use std::sync::Arc;

use banger_core::intent::VmIntent;
use banger_core::outcome::{self, Moment};
use banger_core::plan::{Ending, Step};
use banger_core::seam::{Host, VmRef};
use futures::future::join_all;

use super::clock::BootClock;
use super::ledger::Ledger;

/// A loop that ended. VMs go on running.
#[derive(Debug)]
pub struct Ended<H> {
    pub(super) host: Arc<H>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: BootClock,
    /// None where no pass was made.
    pub(super) boot_id: Option<String>,
}

impl<H: Host> Ended<H> {
    /// Has every guest shut down, each within its own grace period, all at once:
    /// the host goes down, and their VMMs with it. They are started again after
    /// its boot. Nothing else of theirs is removed: the boot does that.
    pub async fn shut_guests_down(&self) {
        let Some(boot_id) = &self.boot_id else {
            return;
        };
        let intents = self.ledger.state().await.intents;
        let runs = |vm: &&VmIntent| {
            let started = vm.started.as_ref();
            started.is_some_and(|started| started.boot_id == *boot_id)
        };
        let running: Vec<_> = intents.vms.values().filter(runs).collect();
        tracing::info!("the host goes down: {} guests shut down", running.len());
        let guests = running.into_iter().map(|vm| self.shut_down(vm, boot_id));
        join_all(guests).await;
    }

    async fn shut_down(&self, vm: &VmIntent, boot_id: &str) {
        let (name, uid) = (vm.name(), vm.uid);
        let exit = Step::RecordExit {
            ending: Ending::Asked,
        };
        let moment = Moment {
            boot_id: boot_id.to_owned(),
            boot_ms: self.clock.now_ms(),
        };
        let recorded = self.ledger.change_vm(uid, Vec::new(), |vm, _| {
            outcome::after_step(vm, &exit, &moment);
        });
        // Then it counts as gone with the host, which is nearly true.
        if let Err(error) = recorded.await {
            tracing::warn!(vm = %name, vm_uid = %uid, "{name}: its end can't be saved: {error}");
        }
        let step = Step::ShutDownGuest {
            grace_seconds: vm.spec.termination_grace_period_seconds,
        };
        let vm = VmRef::Intended(Box::new(vm.clone()));
        match self.host.vm_step(&vm, &step).await {
            Ok(()) => tracing::info!(vm = %name, vm_uid = %uid, "{name}: its guest is down"),
            Err(error) => {
                tracing::warn!(vm = %name, vm_uid = %uid, "{name}: its guest can't be shut down: {error}");
            }
        }
    }
}
