//! What is going on right now, for status: who is at which step, what failed last.
//!
//! A leaf lock: nothing else is locked or awaited while it is held.

use std::sync::{Mutex, MutexGuard, PoisonError};

use banger_core::seam::StepError;
use banger_core::status::Activity;
use banger_protocol::VmUid;
use tokio::sync::Notify;

/// Written by chains and imports, read by the loop.
#[derive(Debug, Default)]
pub(super) struct Board {
    activity: Mutex<Activity>,
    changed: Notify,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Activity> {
        // Every write leaves it whole, so a panic elsewhere spoils nothing.
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything.
    pub(super) fn read(&self) -> Activity {
        self.lock().clone()
    }

    /// Resolves after the board changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A chain is at this step.
    pub(super) fn at_step(&self, uid: VmUid, step: String) {
        self.lock().running.insert(uid, step);
        self.changed.notify_one();
    }

    /// An import is so far, in percent.
    pub(super) fn import_at(&self, uid: VmUid, percent: u8) {
        let before = self.lock().import_progress.insert(uid, percent);
        if before != Some(percent) {
            self.changed.notify_one();
        }
    }

    /// A chain or import is over; a failure is kept until the next one is over.
    pub(super) fn over(&self, uid: VmUid, failure: Option<&StepError>) {
        let mut activity = self.lock();
        activity.running.remove(&uid);
        activity.import_progress.remove(&uid);
        match failure {
            Some(error) => {
                let said = (chain_of(error), error.remedy.clone());
                activity.last_error.insert(uid, said);
            }
            None => {
                activity.last_error.remove(&uid);
            }
        }
        drop(activity);
        self.changed.notify_one();
    }

    /// A chain ended without a verdict; an earlier failure stands.
    pub(super) fn left(&self, uid: VmUid) {
        self.lock().running.remove(&uid);
        self.changed.notify_one();
    }

    /// The object is gone.
    pub(super) fn forget(&self, uid: VmUid) {
        let mut activity = self.lock();
        activity.running.remove(&uid);
        activity.import_progress.remove(&uid);
        activity.last_error.remove(&uid);
    }
}

/// An error and its causes, in one line.
pub(super) fn chain_of(error: &StepError) -> String {
    let mut text = error.message.clone();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause in their own words.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
