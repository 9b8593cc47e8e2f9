//! Whether there is room for what a plan would have made.

use super::Why;
use crate::observed::Observed;
use crate::pressure::{DiskState, Pressure};

/// What keeps back that which waits at `level` and above; nothing is made
/// either where the room can't be told.
pub(super) fn keeps_back(observed: &Observed, disk: DiskState, level: Pressure) -> Option<Why> {
    if let Some(why) = observed.room.unknown() {
        return Some(Why::ObservationFailed {
            message: why.to_owned(),
        });
    }
    if disk.pressure < level {
        return None;
    }
    let room = observed.room.present()?;
    Some(Why::DiskPressure {
        left: room.headroom(disk.limits.ballast),
        needed: disk.limits.end_of(level)?,
    })
}
