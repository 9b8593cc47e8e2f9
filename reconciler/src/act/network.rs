//! Bridge, NAT, taps and their pool.

use banger_core::intent::VmIntent;
use banger_core::seam::{StepError, VmRef};
use banger_protocol::inventory::{Probe, Tap};
use banger_protocol::{
    Family, NetworkPolicy, Obstacle, PoolSize, Request, Slot, VmUid, WarmUps, Way,
};

use super::shared::Shared;

impl Shared {
    pub(super) async fn ensure_bridge(&self, ipv6: bool) -> Result<(), StepError> {
        self.helper
            .ensure(Request::EnsureBridge { ipv6 }, Vec::new())
            .await?;
        Ok(())
    }

    pub(super) async fn ensure_nat(&self, policy: NetworkPolicy) -> Result<(), StepError> {
        self.helper.ensure(policy.into(), Vec::new()).await?;
        Ok(())
    }

    pub(super) async fn ensure_pool(
        &self,
        size: PoolSize,
        parallel: WarmUps,
    ) -> Result<(), StepError> {
        self.helper
            .ensure(Request::EnsurePool { size, parallel }, Vec::new())
            .await?;
        Ok(())
    }

    pub(super) async fn ensure_tap(&self, vm: &VmIntent) -> Result<(), StepError> {
        let slot = vm.allocation.slot;
        let request = Request::EnsureTap { uid: vm.uid, slot };
        self.helper.ensure(request, Vec::new()).await?;
        self.handles.change(&self.layout, vm.uid, |handles| {
            handles.tap = Some(slot.tap());
        });
        Ok(())
    }

    pub(super) async fn remove_tap(&self, vm: &VmRef) -> Result<(), StepError> {
        let uid = vm.uid();
        let slots = match vm {
            VmRef::Intended(vm) => vec![vm.allocation.slot],
            // Nothing but the tap's own name tells the slot.
            VmRef::Orphan(uid) => self.slots_of(*uid).await?,
        };
        for slot in slots {
            self.helper
                .ensure(Request::RemoveTap { uid, slot }, Vec::new())
                .await?;
        }
        self.handles
            .change(&self.layout, uid, |handles| handles.tap = None);
        Ok(())
    }

    async fn slots_of(&self, uid: VmUid) -> Result<Vec<Slot>, StepError> {
        let taps = self.taps().await?;
        let own = taps.iter().filter(|tap| tap.uid == Some(uid));
        Ok(own.filter_map(|tap| Slot::of_tap(&tap.name)).collect())
    }

    async fn taps(&self) -> Result<Vec<Tap>, StepError> {
        match self.helper.inventory().await?.taps {
            Probe::Known(taps) => Ok(taps),
            Probe::Unknown(why) => Err(StepError::transient(format!(
                "the taps can't be read: {why}"
            ))),
        }
    }
}

/// Whether guests send what is dropped there.
pub(super) fn concerns_guests(obstacle: &Obstacle, dns: bool, ipv6: bool) -> bool {
    match (obstacle.family, obstacle.way) {
        (Family::Ipv6, _) => ipv6,
        // Without ours they ask the servers of the host's networks.
        (Family::Ipv4, Way::Host) => dns,
        (Family::Ipv4, Way::Out | Way::Back | Way::Guest) => true,
    }
}
