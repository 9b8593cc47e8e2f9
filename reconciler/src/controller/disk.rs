//! The disk that fills up: looked at between passes, and the ballast.
//!
//! Guarantees: before a pass writes anything the ballast is given up where the
//! disk is nearly full, so that a write which fails can't keep guests from
//! being paused.

use std::time::Duration;

use banger_core::observed::Observed;
use banger_core::plan::{Plan, release_ballast};
use banger_core::pressure::{DiskState, Gauge, Pressure};
use banger_core::seam::Host;
use tokio::time::Instant;

use super::board::chain_of;
use super::run::Controller;

/// Between two looks. No event of the kernel's tells that a file system fills
/// up, so that only looking can.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The longest pause between two tries to allocate the ballast.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is known of the disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) gauge: Gauge,
    /// Tries to allocate the ballast since it was last as it should be.
    tries: u32,
    not_before: Option<Instant>,
}

impl<H: Host> Controller<H> {
    /// How the disk stands, for plans.
    pub(super) fn disk_state(&self) -> DiskState {
        self.disk.gauge.state(self.settings.disk)
    }

    /// Looks at the disk alone. Whether that calls for a pass: the level is
    /// another one.
    pub(super) async fn disk_differs(&self) -> bool {
        let room = self.host.room().await;
        self.disk.gauge.peek(&room, &self.settings.disk) != self.disk.gauge.level()
    }

    /// Gives the ballast up if the disk is nearly full.
    pub(super) async fn make_room(&self) {
        let room = self.host.room().await;
        if self.disk.gauge.peek(&room, &self.settings.disk) != Pressure::Guests {
            return;
        }
        if let Some(step) = release_ballast(&room)
            && let Err(error) = self.host.host_step(&step).await
        {
            tracing::error!("the ballast can't be given up: {}", chain_of(&error));
        }
    }

    /// Brings the ballast about as the plan wants it. What fails is tried
    /// again ever later: answers when, if that is to wait.
    pub(super) async fn ballast(&mut self, plan: &Plan) -> Option<Duration> {
        let disk = &mut self.disk;
        let Some(step) = &plan.ballast else {
            (disk.tries, disk.not_before) = (0, None);
            return None;
        };
        let now = Instant::now();
        if let Some(until) = disk.not_before.filter(|until| *until > now) {
            return Some(until - now);
        }
        let done = self.host.host_step(step).await;
        if let Err(error) = &done {
            tracing::warn!("the ballast is not as wanted: {}", chain_of(error));
        }
        // Also after a success: it may have had no effect.
        let pause = Duration::from_secs(1 << disk.tries.min(6)).min(LONGEST_PAUSE);
        disk.tries = disk.tries.saturating_add(1);
        disk.not_before = Some(now + pause);
        done.is_err().then_some(pause)
    }

    /// Takes the level out of an observation, and says so where it moves.
    pub(super) fn gauge(&mut self, observed: &Observed) {
        let before = self.disk.gauge.level();
        self.disk.gauge.read(observed, &self.settings.disk);
        let level = self.disk.gauge.level();
        if level == before {
            return;
        }
        let left = observed
            .room
            .present()
            .map_or(0, |room| room.headroom(self.settings.disk.ballast).mib());
        match level {
            Pressure::None => tracing::info!("{left} MiB are left on the disk: that is enough"),
            Pressure::Creates => {
                tracing::warn!("only {left} MiB are left on the disk: nothing new is made");
            }
            Pressure::Guests => {
                tracing::error!("only {left} MiB are left on the disk: running guests are paused");
            }
        }
    }
}
