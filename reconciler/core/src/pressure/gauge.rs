//! The level over time.

use super::{DiskLimits, Pressure, Room};
use crate::observed::{Instance, Observed, ObservedVm, Presence};

/// How the disk stands, as plans need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskState {
    /// The level.
    pub pressure: Pressure,
    /// What it goes by.
    pub limits: DiskLimits,
}

/// The level as it was last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    level: Option<Pressure>,
}

impl Gauge {
    /// Takes an observation in. Nothing is written down for the next daemon:
    /// a guest that it finds paused says what the level was.
    pub fn read(&mut self, observed: &Observed, limits: &DiskLimits) {
        let Presence::Present(room) = observed.room else {
            return;
        };
        let before = self.level.unwrap_or_else(|| {
            if observed.vms.values().any(is_paused) {
                Pressure::Guests
            } else {
                Pressure::None
            }
        });
        self.level = Some(before.next(room.headroom(limits.ballast), limits));
    }

    /// What the level would be now; where that can't be told, what it was.
    pub fn peek(&self, room: &Presence<Room>, limits: &DiskLimits) -> Pressure {
        match room {
            Presence::Present(room) => self.level().next(room.headroom(limits.ballast), limits),
            Presence::Absent | Presence::Unknown(_) => self.level(),
        }
    }

    /// The level.
    pub fn level(&self) -> Pressure {
        self.level.unwrap_or_default()
    }

    /// For a plan.
    pub fn state(&self, limits: DiskLimits) -> DiskState {
        DiskState {
            pressure: self.level(),
            limits,
        }
    }
}

fn is_paused(vm: &ObservedVm) -> bool {
    vm.vmm
        .present()
        .is_some_and(|vmm| vmm.instance == Instance::Paused)
}
