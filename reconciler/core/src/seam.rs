//! The seam between deciding and doing. The real host and the simulated one
//! stand behind the same trait; the controller knows only this.

use std::future::Future;
use std::sync::Arc;

use crate::intent::{ImageDigest, ImageIntent, Imported, VmIntent};
use crate::inventory::{Holdings, Leftover};
use crate::observed::{Observed, Presence};
use crate::plan::{HostStep, Step};
use crate::pressure::Room;
use crate::trash::Trashed;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// One line for a person: what failed and why.
    pub message: String,
    /// What to do about it, where there is something to do.
    pub remedy: Option<String>,
    /// Whether trying again can help without anybody's doing.
    pub retry: bool,
    /// The chain behind it.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StepError {
    /// An error that may pass by itself.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            remedy: None,
            retry: true,
            source: None,
        }
    }

    /// An error that stays until somebody does something.
    pub fn lasting(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            remedy: Some(remedy.into()),
            retry: false,
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

/// A host that VMs run on.
///
/// Guarantees that an implementation gives: `observe` never writes; every step
/// is idempotent and may be repeated after a crash at any point of it; a step
/// that answered `Ok` is seen by the next `observe`. It may assume that no two
/// steps of the same VM run at the same time.
///
/// Steps that are about the store alone ([`Step::is_the_stores`]) never reach a host.
pub trait Host: Send + Sync + 'static {
    /// Everything that the host holds, in bulk, whatever is intended.
    /// The intents only tell which files and which agents to look for.
    fn observe(&self, vms: &[VmIntent]) -> impl Future<Output = Observed> + Send;

    /// Does a step of the host.
    fn host_step(&self, step: &HostStep) -> impl Future<Output = Result<(), StepError>> + Send;

    /// Does a step of a VM. For a VM that has no intent any more (left over
    /// from a lost database) only removals are asked for.
    fn vm_step(
        &self,
        vm: &VmRef,
        step: &Step,
    ) -> impl Future<Output = Result<(), StepError>> + Send;

    /// Imports an image; `progress` takes bytes done and bytes in all.
    fn import(
        &self,
        image: &ImageIntent,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> impl Future<Output = Result<Imported, StepError>> + Send;

    /// Removes an imported image that nothing needs: it doesn't ask who lies
    /// over it. One that isn't there is no error.
    fn remove_image(
        &self,
        digest: &ImageDigest,
    ) -> impl Future<Output = Result<(), StepError>> + Send;

    /// What lies in the trash, oldest first. `known`: something is known to have
    /// lain there; a trash that isn't there is no empty one then.
    fn trash(
        &self,
        known: bool,
    ) -> impl Future<Output = Result<Arc<Vec<Trashed>>, StepError>> + Send;

    /// Removes an entry of the trash for good; one that isn't there is no error.
    fn empty_trash(&self, id: &str) -> impl Future<Output = Result<(), StepError>> + Send;

    /// Everything that the host holds, object by object, as `observe` doesn't
    /// tell it: for people, and to collect what nobody needs. Never writes.
    fn holdings(&self) -> impl Future<Output = Holdings> + Send;

    /// Removes a leftover that `holdings` showed, if it still is one.
    fn remove_leftover(
        &self,
        leftover: &Leftover,
    ) -> impl Future<Output = Result<(), StepError>> + Send;

    /// Room for the state directory, as `observe` tells it too; so cheap that
    /// it may be asked every second.
    fn room(&self) -> impl Future<Output = Presence<Room>> + Send;

    /// Memory that VMs may take now, in bytes; `None`: it can't be told.
    fn available_memory(&self) -> Option<u64>;

    /// Resolves when something happened that calls for a pass: a VMM exited,
    /// an agent spoke.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// A VM as steps need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VmRef {
    /// With its intent.
    Intended(Box<VmIntent>),
    /// Known to the host only.
    Orphan(banger_protocol::VmUid),
}

impl VmRef {
    /// The uid.
    pub const fn uid(&self) -> banger_protocol::VmUid {
        match self {
            Self::Intended(vm) => vm.uid,
            Self::Orphan(uid) => *uid,
        }
    }
}
