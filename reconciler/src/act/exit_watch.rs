//! Watching for VMMs that end: one task and one pidfd each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use banger_protocol::VmUid;
use banger_protocol::inventory::Process;
use tokio_util::task::AbortOnDropHandle;

use crate::observe::process::Alive;

/// The processes that are watched.
#[derive(Default)]
pub(super) struct ExitWatch {
    /// A leaf lock: never held across an await.
    watched: Mutex<BTreeMap<VmUid, (Process, AbortOnDropHandle<()>)>>,
}

impl ExitWatch {
    /// Calls `ended` once the process has exited, at once where it has
    /// already. A process that is watched is not watched twice.
    pub(super) fn watch(
        &self,
        uid: VmUid,
        process: Process,
        ended: impl FnOnce() + Send + 'static,
    ) {
        let mut watched = self.lock();
        if watched
            .get(&uid)
            .is_some_and(|(known, _)| *known == process)
        {
            return;
        }
        let task = tokio::spawn(async move {
            match Alive::hold(process) {
                Ok(Some(alive)) => {
                    if let Err(error) = alive.exited().await {
                        tracing::warn!(vm_uid = %uid, %error, "Firecracker's exit can't be waited for");
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(vm_uid = %uid, %error, "Firecracker can't be watched");
                    return;
                }
            }
            ended();
        });
        watched.insert(uid, (process, AbortOnDropHandle::new(task)));
    }

    /// Drops the watches of VMs that run no more.
    pub(super) fn retain(&self, running: impl Fn(VmUid) -> bool) {
        self.lock()
            .retain(|uid, (_, task)| running(*uid) || !task.is_finished());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VmUid, (Process, AbortOnDropHandle<()>)>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
