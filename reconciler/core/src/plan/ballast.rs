//! The ballast: in its place for as long as there is room, away when there is
//! hardly any.

use super::HostStep;
use crate::observed::{Observed, Presence};
use crate::pressure::{DiskState, Pressure, Room};

pub(super) fn plan(observed: &Observed, disk: DiskState) -> Option<HostStep> {
    let room = observed.room.present()?;
    let size = disk.limits.ballast;
    if disk.pressure == Pressure::Guests || size.bytes() == 0 {
        return release_ballast(&observed.room);
    }
    (room.ballast != size).then_some(HostStep::EnsureBallast { size })
}

/// What gives the ballast up, if there is one.
pub fn release_ballast(room: &Presence<Room>) -> Option<HostStep> {
    let held = room.present()?.ballast;
    (held.bytes() > 0).then_some(HostStep::ReleaseBallast)
}
