//! Watching for VMMs that end: one task and one pidfd each.
//!
//! ```text
//! watched --exited--> told
//!  |   ^
//!  v   | a pause
//! can't be watched
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use banger_protocol::VmUid;
use banger_protocol::inventory::Process;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::observe::process::Alive;

/// After a wait that failed (there may be no descriptor left), the first pause;
/// each is twice as long as the one before it.
const PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

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
        self.watch_with(uid, process, move || exit_of(process), ended);
    }

    fn watch_with<F>(
        &self,
        uid: VmUid,
        process: Process,
        exit: impl Fn() -> F + Send + 'static,
        ended: impl FnOnce() + Send + 'static,
    ) where
        F: Future<Output = io::Result<()>> + Send,
    {
        let mut watched = self.lock();
        if watched
            .get(&uid)
            .is_some_and(|(known, _)| *known == process)
        {
            return;
        }
        let task = tokio::spawn(async move {
            let mut pause = PAUSE;
            while let Err(error) = exit().await {
                tracing::warn!(vm_uid = %uid, %error, "Firecracker's exit can't be waited for");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
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

/// Resolves once the process is gone.
async fn exit_of(process: Process) -> io::Result<()> {
    match Alive::hold(process)? {
        Some(alive) => alive.exited().await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::{Child, Command};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use banger_testkit::generate;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::time::Instant;

    use super::*;
    use crate::observe::process::start_time;

    fn child() -> (Child, Process) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process {
            pid: child.id(),
            start_time: start_time(child.id()).unwrap().unwrap(),
        };
        (child, process)
    }

    fn watch(exits: &ExitWatch, process: Process) -> UnboundedReceiver<()> {
        let (told, hears) = unbounded_channel();
        exits.watch(generate::uid(1), process, move || told.send(()).unwrap());
        hears
    }

    #[tokio::test]
    async fn an_exit_is_told_once_and_at_once() {
        let exits = ExitWatch::default();
        let (mut child, process) = child();
        let mut hears = watch(&exits, process);
        let mut twice = watch(&exits, process);
        assert_eq!(twice.recv().await, None, "it is watched already");
        assert!(hears.try_recv().is_err(), "it lives");
        child.kill().unwrap();
        assert_eq!(hears.recv().await, Some(()));
        assert_eq!(hears.recv().await, None);
        child.wait().unwrap();

        // One that is gone already, and one with a pid that is somebody else's now.
        exits.retain(|_| false);
        assert_eq!(watch(&exits, process).recv().await, Some(()));
        let myself = std::process::id();
        let other = Process {
            pid: myself,
            start_time: start_time(myself).unwrap().unwrap() + 1,
        };
        assert_eq!(watch(&exits, other).recv().await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_fails_is_begun_again() {
        let exits = ExitWatch::default();
        let tries = Arc::new(AtomicU32::new(0));
        let (told, mut hears) = unbounded_channel();
        let counted = Arc::clone(&tries);
        let exit = move || {
            let fails = counted.fetch_add(1, Ordering::SeqCst) < 3;
            async move {
                match fails {
                    true => Err(io::Error::from_raw_os_error(24)),
                    false => Ok(()),
                }
            }
        };
        let process = Process {
            pid: 7,
            start_time: 7,
        };
        let began = Instant::now();
        let ended = move || told.send(()).unwrap();
        exits.watch_with(generate::uid(1), process, exit, ended);
        assert_eq!(hears.recv().await, Some(()));
        assert_eq!(tries.load(Ordering::SeqCst), 4);
        assert_eq!(began.elapsed(), Duration::from_secs(1 + 2 + 4));
    }
}
