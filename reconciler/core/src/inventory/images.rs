//! Images of the store that nothing needs any more: imports of what a document
//! said once.
//!
//! An image goes only where everybody who could need it was asked. Whatever
//! could not be read, a VM that no intent knows, a root disk in the trash of
//! which nobody knows what it lies over, and anything that is just being done:
//! each may need any image, so that all of them stay.

use std::collections::BTreeSet;

use banger_protocol::VmUid;

use super::collect::{blind, tagged};
use super::compare::running;
use super::holdings::{Backing, Holdings, StoredImage, known};
use crate::intent::{ImageDigest, Intents};
use crate::observed::Presence;

/// Why images stay that nobody is known to need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// How many.
    pub(super) images: usize,
    /// What may need them.
    pub(super) why: String,
    /// The command that settles it.
    pub(super) remedy: Option<String>,
}

/// The images of the store that nothing needs. VMs and images that something
/// is being done for are `busy`.
pub(super) fn unneeded<'a>(
    intents: &Intents,
    busy: &BTreeSet<VmUid>,
    holdings: &'a Holdings,
) -> Result<Vec<(&'a ImageDigest, &'a StoredImage)>, Doubt> {
    let Ok(images) = &holdings.images else {
        // Which there are is unknown, and said to be.
        return Ok(Vec::new());
    };
    let found: Vec<_> = images
        .iter()
        .filter(|(digest, image)| {
            !intents.needs(digest) && !in_trash(digest, holdings) && !is_open(image, holdings)
        })
        .collect();
    match doubt(intents, busy, holdings) {
        Some((why, remedy)) if !found.is_empty() => Err(Doubt {
            images: found.len(),
            why,
            remedy,
        }),
        _ => Ok(found),
    }
}

/// Why an image stays that somebody thinks is needed no more, as far as it can
/// be told now; `None`: nothing needs it.
pub fn reason_to_stay(
    digest: &ImageDigest,
    intents: &Intents,
    busy: &BTreeSet<VmUid>,
    holdings: &Holdings,
) -> Option<String> {
    let image = match &holdings.images {
        Ok(images) => images.get(digest)?,
        Err(why) => return Some(format!("the images could not be read: {why}")),
    };
    if intents.needs(digest) {
        return Some("an image or a VM needs it".into());
    }
    if in_trash(digest, holdings) {
        return Some("a disk in the trash may need it".into());
    }
    if is_open(image, holdings) {
        return Some("a loop device may lie over it".into());
    }
    doubt(intents, busy, holdings).map(|(why, _)| why)
}

fn in_trash(digest: &ImageDigest, holdings: &Holdings) -> bool {
    let mut vms = holdings.trash.iter().flat_map(|entries| entries.iter());
    vms.any(|entry| entry.vm.as_ref().is_some_and(|vm| vm.needs(digest)))
}

/// Whether a loop device is over it, or could be.
fn is_open(image: &StoredImage, holdings: &Holdings) -> bool {
    let rootfs = match &image.rootfs {
        Presence::Absent => return false,
        Presence::Unknown(_) => return true,
        Presence::Present(rootfs) => rootfs,
    };
    let inventory = holdings.inventory.iter();
    let mut loops = inventory.flat_map(|inventory| known(&inventory.loops));
    loops.any(|found| {
        let backing = Backing {
            device: found.backing_device,
            inode: found.backing_inode,
        };
        backing == *rootfs
    })
}

/// What may need any image: why, and the command that settles it.
fn doubt(
    intents: &Intents,
    busy: &BTreeSet<VmUid>,
    holdings: &Holdings,
) -> Option<(String, Option<String>)> {
    if let Some(why) = blind(holdings) {
        let why = format!("not all of the host could be looked at: {why}");
        return Some((why, Some("banger doctor".into())));
    }
    let trash = match &holdings.trash {
        Ok(trash) => trash,
        Err(why) => {
            let why = format!("the trash could not be read: {why}");
            return Some((why, Some("banger doctor".into())));
        }
    };
    // Disks that are on their way, and imports, are nobody's yet.
    if !busy.is_empty() {
        let why = "something is being done that may need them: try again in a moment";
        return Some((why.into(), None));
    }
    let orphan = |uid: &VmUid| !intents.vms.contains_key(uid);
    if let Some(uid) = tagged(holdings).into_iter().find(orphan) {
        let remedy = match running(holdings).contains_key(&uid) {
            true => format!("banger gc --orphan {uid}"),
            false => "banger gc".into(),
        };
        let why = format!("VM {uid}, which no intent knows, may need them");
        return Some((why, Some(remedy)));
    }
    let unknown = trash.iter().find(|entry| entry.pins_any())?;
    let why = format!(
        "{} in the trash holds a root disk, and nothing says which image it lies over",
        unknown.id
    );
    Some((why, Some(format!("banger trash empty {}", unknown.id))))
}
