//! Status: intents, observation and plan, told to people.
//!
//! Guarantees: `observedGeneration` is the generation that was evaluated; a
//! condition's `lastTransitionTime` moves only when its status does.

mod conditions;
mod disk;
mod image;
mod phase;
mod vm;

use std::collections::BTreeMap;
use std::path::PathBuf;

use banger_protocol::VmUid;
use jiff::Timestamp;

use crate::admit::Admission;
use crate::api::status::Object;
use crate::api::{Condition, Kind, Name};
use crate::intent::Intents;
use crate::observed::Observed;
use crate::plan::Plan;
use crate::vanish::Held;

/// What is going on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// VMs whose chain runs, with the step that it is at, described.
    pub running: BTreeMap<VmUid, String>,
    /// The last action's error and remedy, until one succeeds.
    pub last_error: BTreeMap<VmUid, (String, Option<String>)>,
    /// Imports that run, percent.
    pub import_progress: BTreeMap<VmUid, u8>,
}

/// Where things lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Disks, images, logs.
    pub state_dir: PathBuf,
    /// Guests' host keys, a file for each VM.
    pub known_hosts: PathBuf,
}

/// Everything that status is made of.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What is intended.
    pub intents: &'a Intents,
    /// What is there.
    pub observed: &'a Observed,
    /// What is to be done.
    pub plan: &'a Plan,
    /// What is being done.
    pub activity: &'a Activity,
    /// What was rejected, and where everything is declared.
    pub admission: &'a Admission,
    /// Missing documents whose objects stay, and why.
    pub held: &'a BTreeMap<(Kind, Name), Held>,
    /// The conditions as they were.
    pub previous: &'a BTreeMap<VmUid, Vec<Condition>>,
    /// Where things lie.
    pub paths: &'a Paths,
    /// Now.
    pub now: Timestamp,
}

impl View<'_> {
    /// All objects of a kind, by name.
    pub fn objects(&self, kind: Kind) -> Vec<Object> {
        let mut objects: Vec<Object> = match kind {
            Kind::VirtualMachine => self
                .intents
                .vms
                .values()
                .map(|vm| vm::object(self, vm))
                .collect(),
            Kind::Image => self
                .intents
                .images
                .values()
                .map(|image| image::object(self, image))
                .collect(),
        };
        objects.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        objects
    }
}
