//! Pausing guests, and letting them go on.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use banger_agent_protocol::AgentRequest;
use banger_core::observed::{Instance, Observed};
use banger_core::seam::StepError;
use banger_protocol::VmUid;
use banger_protocol::install::socket;

use super::shared::Shared;
use super::writeback::PATIENCE;
use crate::firecracker::socket::connect;
use crate::firecracker::{ApiError, Client, VmState};
use crate::guest::{agent, config};

/// How long Firecracker may take; it waits for every processor of the guest.
const REQUEST: Duration = Duration::from_secs(10);
/// How long the agent may take to set its clock.
const CLOCK: Duration = Duration::from_secs(5);

impl Shared {
    /// Whether a guest stands still is seen with every observation.
    pub(super) fn note_paused(&self, observed: &Observed) {
        let paused = observed.vms.values().any(|vm| {
            let vmm = vm.vmm.present();
            vmm.is_some_and(|vmm| vmm.instance == Instance::Paused)
        });
        self.any_paused.store(paused, Ordering::Relaxed);
    }

    /// The pulse goes first: a guest that stands still misses no ping.
    pub(super) async fn pause_guest(&self, uid: VmUid) -> Result<(), StepError> {
        if let Some(attendant) = self.attendants.get(uid) {
            attendant.hold_pulse(true);
        }
        self.set_vm_state(uid, VmState::Paused).await?;
        self.any_paused.store(true, Ordering::Relaxed);
        // While the ballast gives room. A disk that is too slow for it is no reason to
        // have the guest run on.
        if !self.writeback.all(PATIENCE).await {
            tracing::warn!(vm = %uid, "what it wrote isn't on the disk after {PATIENCE:?}");
        }
        Ok(())
    }

    pub(super) async fn resume_guest(&self, uid: VmUid) -> Result<(), StepError> {
        self.set_vm_state(uid, VmState::Resumed).await?;
        if let Some(attendant) = self.attendants.get(uid) {
            attendant.hold_pulse(false);
        }
        // Its clock stood still with it. A guest without an agent, or one that
        // is busy catching up, goes on all the same.
        let order = AgentRequest::SetClock {
            now_ns: config::now_ns(),
        };
        if let Err(error) = agent::ask(&self.layout.sockets(uid), &order, CLOCK).await {
            tracing::info!(vm = %uid, %error, "the guest's clock can't be set");
        }
        Ok(())
    }

    /// Either may be repeated: Firecracker answers the same.
    async fn set_vm_state(&self, uid: VmUid, state: VmState) -> Result<(), StepError> {
        let asked = async {
            let stream = connect(&self.layout.sockets(uid), socket::API).await?;
            let mut api = Client::new(stream, REQUEST).await?;
            Ok::<_, io::Error>(api.set_vm_state(state).await?)
        };
        let done = asked.await;
        // Whatever came of it, what the API says is asked again.
        self.instances.forget(uid);
        done.map_err(|error| StepError::transient(chain(&error)).because(error))
    }
}

fn chain(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(error) => ApiError::chain(error),
        None => format!("Firecracker's API socket can't be reached: {error}"),
    }
}
