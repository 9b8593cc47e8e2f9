//! One pass: the route from the directories to status.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use banger_core::intent::Intents;
use banger_core::observed::Observed;
use banger_core::orphans::Orphans;
use banger_core::plan::{Clock, ImageStep, Plan, Why, plan};
use banger_core::seam::Host;
use banger_protocol::VmUid;
use tokio::time::Instant;

use super::run::Controller;
use crate::store::StoreError;

/// What the last pass saw and decided.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) observed: Arc<Observed>,
    pub(super) plan: Plan,
}

impl<H: Host> Controller<H> {
    /// One pass. Answers how long nothing needs to be done, if nothing happens.
    pub(super) async fn pass(&mut self) -> Result<Duration, StoreError> {
        self.tick();
        self.make_room().await;
        self.heartbeat.stamp();
        if self.known_orphans().is_none() {
            // Admission goes by what the host holds; requests are answered meanwhile.
            let before = self.ledger.state().await.intents;
            self.observe(&before).await?;
            self.heartbeat.stamp();
        }
        let reading = self.read(Vec::new()).await;
        self.heartbeat.stamp();
        self.admit(&reading).await?;
        self.heartbeat.stamp();
        // A chain that ends while the host is looked at may not be in the
        // picture; its VM waits for the next pass. So does one that came
        // meanwhile, which nobody looked for.
        let mut busy = self.busy();
        let before = self.ledger.state().await.intents;
        let observed = self.observe(&before).await?;
        let intents = self.ledger.state().await.intents;
        busy.extend(self.busy());
        let unseen = |uid: &&VmUid| !before.vms.contains_key(uid);
        busy.extend(intents.vms.keys().filter(unseen));
        self.heartbeat.stamp();
        self.tell_adoption(&intents, &observed).await;
        let mut plan = plan(&intents, &observed, self.moment());
        // A VM that was forgotten while the host was looked at isn't told from
        // one that nobody ever knew: whether its image may go is seen next time.
        let forgotten = |uid: &VmUid| !intents.vms.contains_key(uid);
        if before.vms.keys().any(forgotten) {
            let imports = |step: &ImageStep| matches!(step, ImageStep::Import { .. });
            plan.images.retain(imports);
        }
        let network = self.act(&plan, &intents, &observed, &busy).await;
        let pool = self.warm_up(&plan);
        self.heartbeat.stamp();
        let ballast = self.ballast(&plan).await;
        self.heartbeat.stamp();
        let later = [network, pool, ballast, self.held_off(&plan)];
        let host = later.into_iter().flatten().min();
        let rest = self.rest(&plan, &intents, host);
        self.last = Some(Last { observed, plan });
        self.publish().await?;
        self.heartbeat.stamp();
        self.expire_trash().await?;
        Ok(rest)
    }

    /// The host as it is.
    async fn observe(&mut self, intents: &Intents) -> Result<Arc<Observed>, StoreError> {
        let vms: Vec<_> = intents.vms.values().cloned().collect();
        let host = Arc::clone(&self.host);
        let sweeps = self.sweeps.load(Ordering::SeqCst);
        let observed = Arc::new(self.meanwhile(host.observe(&vms)).await);
        self.orphans = Some((sweeps, Orphans::of(&observed, intents)));
        if !observed.boot_id.is_empty() && self.boot_id.as_deref() != Some(&observed.boot_id) {
            self.ledger.enter_boot(&observed.boot_id).await?;
            self.boot_id = Some(observed.boot_id.clone());
        }
        self.gauge(&observed);
        self.seen.send_replace(Some(Arc::clone(&observed)));
        self.due = Instant::now() + self.settings.resync;
        Ok(observed)
    }

    /// What a plan needs to know of the moment.
    pub(super) fn moment(&self) -> Clock {
        Clock {
            boot_ms: self.clock.now_ms(),
            available_memory: self
                .host
                .available_memory()
                .map(|bytes| bytes.saturating_sub(self.settings.memory_headroom)),
            pool: self.settings.pool,
            disk: self.disk_state(),
            guest_to_guest: self.settings.guest_to_guest,
            ipv6: self.settings.ipv6,
        }
    }

    /// Until the first thing that only time brings about.
    fn rest(&self, plan: &Plan, intents: &Arc<Intents>, host: Option<Duration>) -> Duration {
        let now = self.clock.now_ms();
        let waiting = plan.waiting.iter().filter_map(|waiting| match waiting.why {
            Why::CrashLoopBackOff { until_ms } | Why::BackOff { until_ms } => Some(until_ms),
            _ => None,
        });
        let images = intents
            .images
            .values()
            .map(|image| image.error.not_before_ms);
        let back_off = waiting
            .chain(images)
            .filter_map(|until| until.checked_sub(now))
            .filter(|left| *left > 0);
        let recheck = self.latest.vanished.recheck_after_ms;
        back_off
            .chain(recheck)
            .map(Duration::from_millis)
            .chain(host)
            .fold(self.settings.resync, Duration::min)
    }
}
