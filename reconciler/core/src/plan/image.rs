//! One image: imported once per generation, forgotten when it is to go.

use super::{Clock, ImageStep, Plan, Waiting, room, waiting_until};
use crate::intent::{ImageDigest, ImageIntent, Intents};
use crate::observed::{Observed, Presence};
use crate::pressure::Pressure;

pub(super) fn plan(
    image: &ImageIntent,
    intents: &Intents,
    observed: &Observed,
    clock: Clock,
    plan: &mut Plan,
) {
    let (uid, name) = (image.uid, image.name().clone());
    let steps = &mut plan.images;
    if image.deletion.is_some() {
        if let Some(imported) = &image.imported
            && !is_needed(&imported.digest, image, intents)
        {
            let digest = &imported.digest;
            let pinned = is_pinned(digest, intents, observed);
            match (holds(observed, digest), pinned) {
                (Some(true), Some(false)) => steps.push(ImageStep::Remove {
                    digest: digest.clone(),
                }),
                // Emptying the trash takes them, or `banger gc`, which says
                // what may need them.
                (Some(_), Some(true)) | (Some(false), _) => {}
                // Once its row is gone, nothing says any more that the files
                // are to go, too.
                (None, _) | (_, None) => return,
            }
        }
        steps.push(ImageStep::Forget { uid, name });
        return;
    }
    let stands = image.imported.as_ref().is_some_and(|imported| {
        // Unknown is not gone: an import that may be there isn't repeated.
        imported.generation == image.generation && holds(observed, &imported.digest) != Some(false)
    });
    if stands || waiting_until(&image.error, clock).is_some() {
        return;
    }
    match room::keeps_back(observed, clock.disk, Pressure::Creates) {
        Some(why) => plan.waiting.push(Waiting { uid, name, why }),
        None => steps.push(ImageStep::Import {
            uid,
            name,
            generation: image.generation,
        }),
    }
}

/// Whether the state directory holds it; `None`: it can't be told.
fn holds(observed: &Observed, digest: &ImageDigest) -> Option<bool> {
    match &observed.images {
        Presence::Present(digests) => Some(digests.contains(digest)),
        Presence::Absent => Some(false),
        Presence::Unknown(_) => None,
    }
}

/// Whether a root disk that no intent knows lies over it, or may: in the trash,
/// or of a VM whose row was lost. `None`: it can't be told.
fn is_pinned(digest: &ImageDigest, intents: &Intents, observed: &Observed) -> Option<bool> {
    let in_trash = match &observed.trash {
        Presence::Present(pins) => Some(pins.may_hold(digest)),
        Presence::Absent => Some(false),
        Presence::Unknown(_) => None,
    };
    match (in_trash, observed.has_orphaned_roots(intents)) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// Whether an intent needs it.
fn is_needed(digest: &ImageDigest, going: &ImageIntent, intents: &Intents) -> bool {
    let by_vm = intents.vms.values().any(|vm| vm.needs(digest));
    let by_image = intents.images.values().any(|image| {
        let has = image.imported.as_ref().map(|imported| &imported.digest);
        image.uid != going.uid && has == Some(digest)
    });
    by_vm || by_image
}
