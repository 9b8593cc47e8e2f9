//! What one transaction writes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use banger_core::api::{Condition, Kind, Name};
use banger_core::intent::{ImageIntent, Intents, VmIntent};
use banger_core::vanish::Guard;
use banger_protocol::VmUid;

use super::{Kept, NewEvent};

/// The intent of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Of a VM.
    Vm(Box<VmIntent>),
    /// Of an image.
    Image(Box<ImageIntent>),
}

impl Intent {
    /// The uid.
    pub const fn uid(&self) -> VmUid {
        match self {
            Self::Vm(vm) => vm.uid,
            Self::Image(image) => image.uid,
        }
    }

    /// The kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Vm(_) => Kind::VirtualMachine,
            Self::Image(_) => Kind::Image,
        }
    }

    /// The name.
    pub const fn name(&self) -> &Name {
        match self {
            Self::Vm(vm) => vm.name(),
            Self::Image(image) => image.name(),
        }
    }
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub intent: Intent,
    /// The file that last declared it.
    pub source: Option<PathBuf>,
}

/// What one transaction writes. Removals come first, so that a name or a slot
/// may go from one object to another within a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Rows that go.
    pub remove: Vec<VmUid>,
    /// Rows that are new or changed.
    pub put: Vec<Row>,
    /// Conditions that changed.
    pub conditions: Vec<(VmUid, Vec<Condition>)>,
    /// What happened.
    pub events: Vec<NewEvent>,
    /// The boot of the host that the back-offs are of.
    pub boot_id: Option<String>,
    /// How long the daemon has run in all, milliseconds.
    pub running_ms: Option<u64>,
    /// What is known of entries of the trash, all of them.
    pub trash: Option<Arc<BTreeMap<String, Kept>>>,
    /// What the mass guard goes by.
    pub guard: Option<Arc<Guard>>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.put.is_empty()
            && self.conditions.is_empty()
            && self.events.is_empty()
            && self.boot_id.is_none()
            && self.running_ms.is_none()
            && self.trash.is_none()
            && self.guard.is_none()
    }

    /// The rows in which two states differ.
    pub fn between(
        before: (&Intents, &BTreeMap<VmUid, PathBuf>),
        after: (&Intents, &BTreeMap<VmUid, PathBuf>),
    ) -> Self {
        let ((from, from_sources), (to, to_sources)) = (before, after);
        let mut batch = Self::default();
        batch.remove.extend(
            from.vms
                .keys()
                .filter(|uid| !to.vms.contains_key(uid))
                .chain(
                    from.images
                        .keys()
                        .filter(|uid| !to.images.contains_key(uid)),
                ),
        );
        let moved = |uid: &VmUid| from_sources.get(uid) != to_sources.get(uid);
        let row = |uid: &VmUid, intent| Row {
            intent,
            source: to_sources.get(uid).cloned(),
        };
        for (uid, vm) in &to.vms {
            if moved(uid) || from.vms.get(uid) != Some(vm) {
                batch.put.push(row(uid, Intent::Vm(Box::new(vm.clone()))));
            }
        }
        for (uid, image) in &to.images {
            if moved(uid) || from.images.get(uid) != Some(image) {
                batch
                    .put
                    .push(row(uid, Intent::Image(Box::new(image.clone()))));
            }
        }
        batch
    }
}
