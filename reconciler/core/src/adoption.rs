//! What a daemon took over of the VMs that ran before it started.
//!
//! A running VMM is adopted where everything that proves it fits: the helper
//! found its process, no longer root's, in the VM's own unit, with the pid and
//! start time; it runs the program that root put there, and no other; an intent knows the uid; the database or the record beside its
//! disks tells what it was started with in this boot; its root disk carries the
//! VM's dm UUID; its API says that the guest runs. The others are told. Where
//! no guest was started yet, the start is begun anew; what else isn't adopted is
//! left as it is.

use std::fmt;

use banger_protocol::VmUid;
use banger_protocol::inventory::Executable;
use serde::{Deserialize, Serialize};

use crate::intent::Intents;
use crate::observed::{Instance, Observed, ObservedVm, Presence};

/// The VMMs that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// Those that were taken over.
    pub adopted: Vec<VmUid>,
    /// Those that were not.
    pub left: Vec<NotAdopted>,
}

/// A VMM that ran and was not taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotAdopted {
    /// Its VM.
    pub uid: VmUid,
    /// No intent knows it: nothing is done to it until somebody names it.
    pub orphan: bool,
    /// Why.
    pub why: String,
}

impl fmt::Display for Adoption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let adopted = self.adopted.len();
        write!(
            f,
            "adopted {adopted}/{} running VMs",
            adopted + self.left.len()
        )
    }
}

/// What is there to be taken over; `None` where it can't be told.
pub fn adoption(intents: &Intents, observed: &Observed) -> Option<Adoption> {
    if observed.elsewhere.vmm.unknown().is_some() {
        return None;
    }
    let mut adoption = Adoption::default();
    for (uid, vm) in &observed.vms {
        if vm.vmm.present().is_none() {
            continue;
        }
        let why = match intents.vms.get(uid) {
            None => Some("no intent knows it".to_owned()),
            Some(intent) => {
                let started = intent.started.as_ref();
                let this_boot = started.is_some_and(|start| start.boot_id == observed.boot_id);
                let known = this_boot || vm.started_with(&observed.boot_id).is_some();
                let unrecorded = || "nothing tells what it was started with".to_owned();
                doubt(vm).or_else(|| (!known).then(unrecorded))
            }
        };
        match why {
            None => adoption.adopted.push(*uid),
            Some(why) => adoption.left.push(NotAdopted {
                uid: *uid,
                orphan: !intents.vms.contains_key(uid),
                why,
            }),
        }
    }
    Some(adoption)
}

/// What of the host itself doesn't fit.
fn doubt(vm: &ObservedVm) -> Option<String> {
    let vmm = vm.vmm.present()?;
    match &vmm.executable {
        Presence::Present(Executable::Replaced) => {
            return Some("it runs another program than the Firecracker that was installed".into());
        }
        Presence::Unknown(why) => return Some(format!("its executable can't be told: {why}")),
        // An older helper tells nothing of it.
        Presence::Absent | Presence::Present(Executable::Installed) => {}
    }
    match &vmm.instance {
        Instance::NotStarted => return Some("its guest was never started".into()),
        Instance::Unknown(why) => return Some(format!("its API gave no answer: {why}")),
        Instance::Running | Instance::Paused => {}
    }
    if let Some(why) = vm.root.unknown() {
        return Some(format!("its root disk can't be told: {why}"));
    }
    if vm.root.is_absent() {
        return Some("no root disk carries its dm UUID".into());
    }
    None
}
