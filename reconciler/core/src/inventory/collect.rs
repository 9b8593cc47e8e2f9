//! What `banger gc` removes: what is provably ours and no intent knows, and
//! images that nothing needs.
//!
//! An orphan is removed as a whole or not at all: where any of its sections
//! could not be read, or its VMM runs and it wasn't named, all of it stays.

use std::collections::{BTreeMap, BTreeSet};

use banger_protocol::VmUid;
use serde::{Deserialize, Serialize};

use super::compare::{running, stale};
use super::holdings::{Holdings, Leftover, known};
use super::images::{Doubt, unneeded};
use crate::intent::{ImageDigest, Intents};
use crate::plan::Step;

/// How long the guest of a named orphan gets to stop by itself: the default of
/// `spec.terminationGracePeriodSeconds`, because its own is lost.
const GRACE_SECONDS: u32 = 30;

/// What is to be removed, and what isn't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// Orphans, each with its steps in order.
    pub orphans: BTreeMap<VmUid, Vec<Step>>,
    /// What is no VM's.
    pub leftovers: Vec<Leftover>,
    /// Imported images that nothing needs.
    pub images: Vec<ImageDigest>,
    /// What stays, and why.
    pub left: Vec<Left>,
    /// Why no orphan is removed at all: something of them could not be read.
    pub blind: Option<String>,
}

/// One thing that was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    /// What: an orphan's step, described, or a leftover.
    pub what: String,
    /// The orphan, where it is one's.
    pub uid: Option<VmUid>,
    /// Why it is still there.
    pub failed: Option<String>,
}

/// Something that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// The command that removes it all the same.
    pub remedy: Option<String>,
}

impl Leftover {
    /// A few words for a list.
    pub fn describe(&self) -> String {
        match self {
            Self::Staging(name) => format!("half-made image {name}"),
            Self::Scratch(uid) => format!("stale handles.json of {uid}"),
        }
    }
}

/// What of the host nobody needs. Orphans whose VMM runs are among it only if
/// they are `named`; VMs that something is being done for are `busy`.
pub fn collect(
    intents: &Intents,
    busy: &BTreeSet<VmUid>,
    holdings: &Holdings,
    named: &BTreeSet<VmUid>,
) -> Collection {
    let mut collection = Collection::default();
    collection.leftovers.extend(
        holdings
            .staging
            .iter()
            .flatten()
            .cloned()
            .map(Leftover::Staging),
    );
    let kernel = holdings.inventory.as_ref().ok();
    for (uid, directory) in holdings.directories.iter().flatten() {
        let settled = intents.vms.contains_key(uid) && !busy.contains(uid);
        if settled && stale(*uid, &directory.scratch, kernel).is_some() {
            collection.leftovers.push(Leftover::Scratch(*uid));
        }
    }
    orphans(intents, busy, holdings, named, &mut collection);
    images(intents, busy, holdings, &mut collection);
    collection
}

fn images(
    intents: &Intents,
    busy: &BTreeSet<VmUid>,
    holdings: &Holdings,
    collection: &mut Collection,
) {
    if let Err(why) = &holdings.images {
        collection.left.push(Left {
            what: "images".into(),
            why: format!("they could not be looked at: {why}"),
            remedy: Some("banger doctor".into()),
        });
    }
    match unneeded(intents, busy, holdings) {
        Ok(found) => {
            let digests = found.into_iter().map(|(digest, _)| digest.clone());
            collection.images.extend(digests);
        }
        Err(Doubt {
            images,
            why,
            remedy,
        }) => collection.left.push(Left {
            what: format!("{images} {}", if images == 1 { "image" } else { "images" }),
            why,
            remedy,
        }),
    }
}

fn orphans(
    intents: &Intents,
    busy: &BTreeSet<VmUid>,
    holdings: &Holdings,
    named: &BTreeSet<VmUid>,
    collection: &mut Collection,
) {
    collection.blind = blind(holdings);
    if let Some(why) = &collection.blind {
        collection.left.push(Left {
            what: "VMs that no intent knows".into(),
            why: format!("not all of the host could be looked at: {why}"),
            remedy: Some("banger doctor".into()),
        });
        return;
    }
    let running = running(holdings);
    for uid in tagged(holdings) {
        if intents.vms.contains_key(&uid) || busy.contains(&uid) {
            continue;
        }
        let runs = running.contains_key(&uid);
        if runs && !named.contains(&uid) {
            collection.left.push(Left {
                what: format!("VM {uid}"),
                why: "it runs, and no intent knows it".into(),
                remedy: Some(format!("banger gc --orphan {uid}")),
            });
        } else {
            collection.orphans.insert(uid, steps(uid, holdings, runs));
        }
    }
}

/// The first section that an orphan may have something in and that could not be read.
pub(super) fn blind(holdings: &Holdings) -> Option<String> {
    let of_vms = [
        "kernel objects",
        "VMMs",
        "taps",
        "loop devices",
        "dm devices",
        "VM directories",
    ];
    holdings
        .unknown()
        .into_iter()
        .find(|(section, _)| of_vms.contains(section))
        .map(|(section, why)| format!("{section}: {why}"))
}

/// Every VM that anything carries the tag of.
pub(super) fn tagged(holdings: &Holdings) -> BTreeSet<VmUid> {
    let mut uids: BTreeSet<VmUid> = BTreeSet::new();
    if let Ok(inventory) = &holdings.inventory {
        uids.extend(known(&inventory.vmms).iter().map(|vmm| vmm.uid));
        uids.extend(known(&inventory.taps).iter().filter_map(|tap| tap.uid));
        uids.extend(known(&inventory.loops).iter().map(|found| found.uid));
        uids.extend(known(&inventory.dms).iter().map(|dm| dm.uid));
    }
    uids.extend(holdings.directories.iter().flatten().map(|(uid, _)| *uid));
    uids
}

/// From the guest downwards, so that nothing that goes is in use.
fn steps(uid: VmUid, holdings: &Holdings, runs: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if runs {
        let grace_seconds = GRACE_SECONDS;
        steps.extend([Step::ShutDownGuest { grace_seconds }, Step::KillVmm]);
    }
    if let Ok(inventory) = &holdings.inventory {
        if known(&inventory.vmms).iter().any(|vmm| vmm.uid == uid) {
            steps.push(Step::RemoveVmm);
        }
        if known(&inventory.taps)
            .iter()
            .any(|tap| tap.uid == Some(uid))
        {
            steps.push(Step::RemoveTap);
        }
        if known(&inventory.dms).iter().any(|dm| dm.uid == uid) {
            steps.push(Step::RemoveRoot);
        }
        let loops = known(&inventory.loops).iter();
        let roles: BTreeSet<_> = loops
            .filter(|found| found.uid == uid)
            .map(|found| found.role)
            .collect();
        steps.extend(roles.into_iter().map(|role| Step::DetachLoop { role }));
    }
    let directories = holdings.directories.as_ref();
    if directories.is_ok_and(|all| all.contains_key(&uid)) {
        // Never for good: whoever lost a database may want the disks.
        steps.push(Step::DropDisks { purge: false });
    }
    steps
}
