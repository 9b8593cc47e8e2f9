//! Everything that the host holds, as it was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use banger_protocol::inventory::Probe;
use banger_protocol::{Inventory, VmUid};
use serde::{Deserialize, Serialize};

use super::report::Object;
use crate::api::status::VmHandles;
use crate::intent::ImageDigest;
use crate::observed::Presence;
use crate::trash::Trashed;

/// The lists that are compared with the intents; each known or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// What the kernel and systemd hold under banger's tags.
    pub inventory: Result<Inventory, String>,
    /// The VMs' directories in the state directory.
    pub directories: Result<BTreeMap<VmUid, VmDirectory>, String>,
    /// Half-made or half-removed images, by the names of their directories.
    pub staging: Result<Vec<String>, String>,
    /// What looks like banger's and carries no proof of it.
    pub look_alikes: Result<Vec<LookAlike>, String>,
    /// The image store: every directory of it that is named by a digest.
    pub images: Result<BTreeMap<ImageDigest, StoredImage>, String>,
    /// What lies in the trash; read after `directories`, so that disks that
    /// go there meanwhile are in one of the two.
    pub trash: Result<Arc<Vec<Trashed>>, String>,
}

/// An imported image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// Its directory.
    pub path: String,
    /// Its root file system.
    pub rootfs: Presence<Backing>,
}

/// A file as a loop device over it knows it (loop(4)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backing {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// One VM's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmDirectory {
    /// Its path.
    pub path: String,
    /// Its scratch file.
    pub scratch: Scratch,
}

/// `handles.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scratch {
    /// There is none: the hint is missing, and nothing else.
    Missing,
    /// It can't be read or understood.
    Unreadable(String),
    /// What it says.
    Known(Box<VmHandles>),
}

/// An object of somebody else's that has a name like ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LookAlike {
    /// What it is.
    pub object: Object,
    /// Its name.
    pub name: String,
    /// What it lacks.
    pub why: String,
}

/// Something of no VM's that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// A half-made or half-removed image, by the name of its directory.
    Staging(String),
    /// A scratch file that says what isn't so.
    Scratch(VmUid),
}

impl Holdings {
    /// The sections that could not be read: each with its name and why.
    pub(super) fn unknown(&self) -> Vec<(&'static str, String)> {
        let mut unknown = Vec::new();
        match &self.inventory {
            Err(why) => unknown.push(("kernel objects", why.clone())),
            Ok(inventory) => {
                let mut add = |section, why: Option<&str>| {
                    unknown.extend(why.map(|why| (section, why.to_owned())));
                };
                add("VMMs", why(&inventory.vmms));
                add("taps", why(&inventory.taps));
                add("loop devices", why(&inventory.loops));
                add("dm devices", why(&inventory.dms));
                add("the bridge", why(&inventory.bridge));
                add("the NAT table", why(&inventory.nat));
            }
        }
        let files = [
            ("VM directories", self.directories.as_ref().err()),
            ("image staging", self.staging.as_ref().err()),
            ("look-alikes", self.look_alikes.as_ref().err()),
            ("images", self.images.as_ref().err()),
            ("the trash", self.trash.as_ref().err()),
        ];
        for (section, why) in files {
            unknown.extend(why.map(|why| (section, why.clone())));
        }
        unknown
    }
}

fn why<T>(probe: &Probe<T>) -> Option<&str> {
    match probe {
        Probe::Known(_) => None,
        Probe::Unknown(why) => Some(why),
    }
}

/// What a section holds; nothing where it could not be read.
pub(super) fn known<T>(probe: &Probe<Vec<T>>) -> &[T] {
    match probe {
        Probe::Known(all) => all,
        Probe::Unknown(_) => &[],
    }
}
