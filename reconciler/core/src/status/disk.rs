//! Disk pressure, told to people.

use banger_protocol::VmUid;

use super::View;
use crate::api::Quantity;
use crate::plan::Why;

/// The reason of the condition.
pub(super) const REASON: &str = "FileSystemFillsUp";

/// What is left, what is needed, and what to do.
pub(super) fn words(view: &View<'_>, left: Quantity, needed: Quantity) -> String {
    let directory = view.paths.state_dir.display();
    format!(
        "{}Mi are left in {directory}, and it waits until {}Mi are: free space on that file \
         system, or `banger trash empty`",
        left.mib(),
        needed.mib()
    )
}

/// The same for an object that waits for room, if it does.
pub(super) fn waits(view: &View<'_>, uid: VmUid) -> Option<String> {
    let mut waiting = view.plan.waiting.iter().filter(|it| it.uid == uid);
    waiting.find_map(|waiting| match waiting.why {
        Why::DiskPressure { left, needed } => Some(words(view, left, needed)),
        _ => None,
    })
}
