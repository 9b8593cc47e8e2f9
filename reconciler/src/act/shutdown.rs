//! Asking a guest to stop, and telling it what changed.

use std::time::Duration;

use banger_agent_protocol::AgentRequest;
use banger_core::intent::VmIntent;
use banger_core::seam::StepError;
use banger_protocol::VmUid;

use super::shared::Shared;
use crate::guest::{agent, config};
use crate::observe::process::Alive;

/// How long the agent may take to take an order.
const ORDER: Duration = Duration::from_secs(15);

impl Shared {
    /// Asks the guest to stop and waits for the VMM's exit, at most the grace
    /// period. A guest that can't be asked, or doesn't stop, is no error: the
    /// step that follows kills it.
    pub(super) async fn shut_down_guest(
        &self,
        uid: VmUid,
        grace_seconds: u32,
    ) -> Result<(), StepError> {
        let Some(process) = self.process_of(uid).await? else {
            return Ok(());
        };
        // Held before the order is given, so that the exit can't be missed.
        let held = Alive::hold(process)
            .map_err(|error| StepError::transient(format!("hold on to Firecracker: {error}")))?;
        let Some(alive) = held else {
            return Ok(());
        };
        let grace = Duration::from_secs(grace_seconds.into());
        let stopped = async {
            let order = AgentRequest::Shutdown { grace_seconds };
            let sockets = self.layout.sockets(uid);
            if let Err(error) = agent::ask(&sockets, &order, ORDER.min(grace)).await {
                tracing::info!(vm_uid = %uid, %error, "the guest can't be asked to stop; it is killed");
                return;
            }
            if let Err(error) = alive.exited().await {
                tracing::warn!(vm_uid = %uid, %error, "Firecracker's exit can't be waited for");
            }
        };
        if tokio::time::timeout(grace, stopped).await.is_err() {
            tracing::info!(vm_uid = %uid, grace_seconds, "the guest did not stop in time; it is killed");
        }
        Ok(())
    }

    /// Gives the agent the spec's keys and files.
    pub(super) async fn update_guest(&self, vm: &VmIntent) -> Result<(), StepError> {
        let key = self.owner_key().await?;
        let keys = config::authorized_keys(&vm.spec, &key);
        let files = self.files_of(&vm.spec).await?;
        if let Some(attendant) = self.attendants.get(vm.uid) {
            attendant.retell(keys.clone(), files.clone());
        }
        let mut orders = vec![("keys", AgentRequest::SetAuthorizedKeys { keys })];
        if !files.is_empty() {
            orders.push(("files", AgentRequest::SetFiles { files }));
        }
        for (what, order) in orders {
            agent::ask(&self.layout.sockets(vm.uid), &order, ORDER)
                .await
                .map_err(|error| {
                    StepError::transient(format!("give the guest its {what}: {error}"))
                        .because(error)
                })?;
        }
        Ok(())
    }
}
