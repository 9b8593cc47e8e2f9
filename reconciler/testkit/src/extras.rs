//! What a host holds besides VMs: decoys that are somebody else's, and leftovers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use banger_core::inventory::{Holdings, Leftover, LookAlike, Object, Scratch};
use banger_protocol::inventory::{Probe, Tap};
use banger_protocol::{Inventory, VmUid};

/// Decoys and leftovers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Interfaces on our bridge that aren't ours.
    pub foreign_taps: BTreeSet<String>,
    /// Other things with names like ours.
    pub look_alikes: Vec<LookAlike>,
    /// Images that were not finished.
    pub staging: BTreeSet<String>,
    /// Scratch files, where they say something; of VMs that have a directory.
    pub scratch: BTreeMap<VmUid, Scratch>,
}

impl Extras {
    /// The decoys that the measurements of crash safety name: each has a name
    /// like ours, and nothing that proves it.
    pub fn decoys() -> Self {
        let look_alike = |object, name: &str, why: &str| LookAlike {
            object,
            name: name.into(),
            why: why.into(),
        };
        Self {
            foreign_taps: ["tap-pool-1".to_owned()].into(),
            look_alikes: vec![
                look_alike(Object::Dm, "banger-x", "its dm UUID is not banger's"),
                look_alike(Object::Loop, "/dev/loop7", "it carries no tag"),
                look_alike(
                    Object::Vmm,
                    "firecracker --id mine (pid 4711)",
                    "it runs in no unit of banger's",
                ),
            ],
            ..Self::default()
        }
    }

    pub(crate) fn holdings(&self, boot_id: String) -> Holdings {
        let taps = self.foreign_taps.iter().map(|name| Tap {
            name: name.clone(),
            uid: None,
            ifindex: 99,
            attached: true,
        });
        Holdings {
            inventory: Ok(Inventory {
                boot_id,
                vmms: Probe::Known(Vec::new()),
                taps: Probe::Known(taps.collect()),
                pool: None,
                loops: Probe::Known(Vec::new()),
                dms: Probe::Known(Vec::new()),
                bridge: Probe::Known(false),
                nat: Probe::Known(None),
                policy: None,
                obstacles: None,
                legacy_tables: None,
                ipv6: None,
            }),
            directories: Ok(BTreeMap::new()),
            staging: Ok(self.staging.iter().cloned().collect()),
            look_alikes: Ok(self.look_alikes.clone()),
            images: Ok(BTreeMap::new()),
            trash: Ok(Arc::default()),
        }
    }

    pub(crate) fn remove(&mut self, leftover: &Leftover) {
        match leftover {
            Leftover::Staging(name) => {
                self.staging.remove(name);
            }
            Leftover::Scratch(uid) => {
                self.scratch.remove(uid);
            }
        }
    }
}
