//! What a look at the host shows.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use banger_core::intent::ImageDigest;
use banger_core::inventory::{Backing, Holdings, StoredImage};
use banger_core::observed::{Observed, ObservedVm, Presence};
use banger_core::pressure::Room;
use banger_core::seam::StepError;
use banger_core::trash::{Trashed, pinned};
use banger_protocol::inventory::{Probe, TapPool};

use super::FakeHost;
use crate::section::Section;

impl FakeHost {
    /// The tap pool as it is now.
    pub fn pool(&self) -> TapPool {
        let state = self.state();
        let in_use = state.vms.values().filter(|vm| vm.tap.is_some()).count();
        TapPool {
            in_use: u32::try_from(in_use).unwrap_or(u32::MAX),
            ..state.pool
        }
    }

    /// Room for the state directory, as it is now.
    pub fn do_room(&self) -> Presence<Room> {
        let state = self.state();
        if state.all_blind {
            return Presence::Unknown("injected: the probe failed".into());
        }
        match state.blind.contains(&Section::Room) {
            true => Presence::Unknown("injected: Room can't be read".into()),
            false => Presence::Present(state.room),
        }
    }

    /// What lies in the trash now.
    pub fn do_trash(&self) -> Result<Arc<Vec<Trashed>>, StepError> {
        let state = self.state();
        match state.all_blind {
            true => Err(StepError::transient("injected: the probe failed")),
            false => Ok(Arc::new(state.trash())),
        }
    }

    /// Everything that is there now.
    pub fn do_observe(&self) -> Observed {
        let pool = self.pool();
        let state = self.state();
        let boot_id = boot_id(state.boot);
        if state.all_blind {
            return Observed::unknown(boot_id, "injected: the probe failed");
        }
        let presence = |there: bool| {
            if there {
                Presence::Present(())
            } else {
                Presence::Absent
            }
        };
        let observed = Observed {
            boot_id,
            vms: state
                .vms
                .iter()
                .map(|(uid, vm)| (*uid, vm.observed(state.ipv6)))
                .collect(),
            elsewhere: ObservedVm::absent(),
            bridge: presence(state.bridge_stands()),
            ipv6: Presence::Present(state.ipv6),
            nat: state
                .nat
                .clone()
                .map_or(Presence::Absent, Presence::Present),
            obstacles: Presence::Present(state.obstacles.clone()),
            pool: Presence::Present(pool),
            images: Presence::Present(state.images.clone()),
            trash: Presence::Present(pinned(&state.trash())),
            room: Presence::Present(state.room),
        };
        Section::blind(&state.blind, observed)
    }

    /// Everything that is there now, object by object.
    pub fn do_holdings(&self) -> Holdings {
        let boot_id = self.do_observe().boot_id;
        let pool = self.pool();
        let state = self.state();
        if state.all_blind {
            return nothing_held("injected: the probe failed");
        }
        let mut holdings = state.extras.holdings(boot_id);
        if let Ok(inventory) = &mut holdings.inventory {
            inventory.bridge = Probe::Known(state.bridge_stands());
            let guests = state.nat.as_ref().map(|policy| policy.guests.clone());
            inventory.nat = Probe::Known(guests);
            inventory.pool = Some(Probe::Known(pool));
        }
        for (uid, vm) in &state.vms {
            vm.list(*uid, &mut holdings);
        }
        holdings.images = match state.blind.contains(&Section::Images) {
            true => Err("injected: Images can't be read".into()),
            false => Ok(state.images.iter().map(stored).collect()),
        };
        holdings.trash = Ok(Arc::new(state.trash()));
        for (uid, scratch) in &state.extras.scratch {
            if let Ok(directories) = &mut holdings.directories
                && let Some(directory) = directories.get_mut(uid)
            {
                directory.scratch = scratch.clone();
            }
        }
        holdings
    }
}

pub(super) fn boot_id(boot: u32) -> String {
    format!("00000000-0000-4000-8000-{boot:012}")
}

pub(super) fn nothing_held(why: &str) -> Holdings {
    let why = || why.to_owned();
    Holdings {
        inventory: Err(why()),
        directories: Err(why()),
        staging: Err(why()),
        look_alikes: Err(why()),
        images: Err(why()),
        trash: Err(why()),
    }
}

fn stored(digest: &ImageDigest) -> (ImageDigest, StoredImage) {
    let image = StoredImage {
        path: format!("/state/images/{}", digest.0),
        rootfs: Presence::Present(backing(digest)),
    };
    (digest.clone(), image)
}

/// What a loop device over an image's root file system knows it by.
pub(crate) fn backing(digest: &ImageDigest) -> Backing {
    let mut hasher = DefaultHasher::new();
    digest.hash(&mut hasher);
    Backing {
        device: 2,
        inode: hasher.finish(),
    }
}
