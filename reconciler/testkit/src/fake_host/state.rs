//! What is on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use banger_core::api::Quantity;
use banger_core::intent::ImageDigest;
use banger_core::plan::Step;
use banger_core::pressure::Room;
use banger_core::seam::StepError;
use banger_core::trash::{Trashed, stamp};
use banger_protocol::inventory::{Ipv6, TapPool};
use banger_protocol::{NetworkPolicy, Obstacle, VmUid};
use jiff::Timestamp;

use crate::extras::Extras;
use crate::fake_vm::{FakeVm, Numbers};
use crate::foreign::Foreign;
use crate::section::Section;

#[derive(Debug)]
pub(super) struct State {
    pub(super) boot: u32,
    pub(super) vms: BTreeMap<VmUid, FakeVm>,
    pub(super) bridge: bool,
    pub(super) ipv6: Ipv6,
    pub(super) nat: Option<NetworkPolicy>,
    pub(super) obstacles: Vec<Obstacle>,
    pub(super) pool: TapPool,
    pub(super) pool_fails: bool,
    pub(super) images: BTreeSet<ImageDigest>,
    pub(super) memory: Option<u64>,
    pub(super) room: Room,
    pub(super) numbers: Numbers,
    pub(super) extras: Extras,
    pub(super) foreign: Foreign,
    /// What `foreign` must be as long as nobody but others touched it.
    pub(super) kept: Foreign,
    /// It wasn't once, when the others went.
    pub(super) touched: bool,
    pub(super) blind: BTreeSet<Section>,
    pub(super) all_blind: bool,
    pub(super) disk_full: bool,
    pub(super) pace: Duration,
    pub(super) trash_away: bool,
    /// What the wall clock says; `None`: what the real one does.
    pub(super) wall_clock: Option<Timestamp>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            boot: 0,
            vms: BTreeMap::new(),
            bridge: false,
            ipv6: Ipv6::Host,
            nat: None,
            obstacles: Vec::new(),
            pool: TapPool::default(),
            pool_fails: false,
            images: BTreeSet::new(),
            memory: Some(1 << 50),
            room: Room {
                free: Quantity::from_bytes(1 << 50),
                ballast: Quantity::default(),
            },
            numbers: Numbers::default(),
            extras: Extras::default(),
            foreign: Foreign::default(),
            kept: Foreign::default(),
            touched: false,
            blind: BTreeSet::new(),
            all_blind: false,
            disk_full: false,
            pace: Duration::ZERO,
            trash_away: false,
            wall_clock: None,
        }
    }
}

impl State {
    /// Those of others that came into VMs' places go.
    pub(super) fn usurpers_leave(&mut self) {
        self.touched |= self.foreign != self.kept;
        self.foreign.leave();
        self.kept.leave();
    }

    /// The bridge itself, with IPv6 or without.
    pub(super) fn make_bridge(&mut self, ipv6: bool) {
        self.bridge = true;
        self.ipv6 = match ipv6 {
            true => Ipv6::Bridge,
            false => Ipv6::Host,
        };
    }

    /// The bridge is there, and every VM's tap on it.
    pub(super) fn bridge_stands(&self) -> bool {
        self.bridge && !self.vms.values().any(FakeVm::is_cut_off)
    }

    /// A step may put something into the trash.
    pub(super) fn stamp(&mut self, step: &Step) {
        if matches!(step, Step::TrashDisk { .. } | Step::DropDisks { .. }) {
            let now = self.wall_clock.unwrap_or_else(Timestamp::now);
            self.numbers.trashed = stamp(now, &self.trash());
        }
    }

    pub(super) fn trash(&self) -> Vec<Trashed> {
        let entries = self.vms.values().flat_map(|vm| vm.trash.iter().cloned());
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|a, b| (a.trashed, &a.id).cmp(&(b.trashed, &b.id)));
        entries
    }
}

/// The ballast takes its room from what is free, and gives it back.
pub(super) fn resize(room: &mut Room, ballast: Quantity) -> Result<(), StepError> {
    let all = room.free.bytes().saturating_add(room.ballast.bytes());
    let free = all
        .checked_sub(ballast.bytes())
        .ok_or_else(|| no_space("allocating the ballast"))?;
    *room = Room {
        free: Quantity::from_bytes(free),
        ballast,
    };
    Ok(())
}

pub(super) fn no_space(what: &str) -> StepError {
    StepError::transient(format!("{what}: ENOSPC: no space left on device"))
}
