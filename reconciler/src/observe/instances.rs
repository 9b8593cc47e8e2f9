//! What the APIs of running VMMs say, asked once per process: a guest that
//! runs never goes back to "not started", and is paused by nobody but banger,
//! which has it asked again then.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use banger_core::observed::Instance;
use banger_protocol::VmUid;
use banger_protocol::install::socket;
use banger_protocol::inventory::Process;
use futures::{StreamExt, stream};

use crate::act::layout::Layout;
use crate::firecracker::socket::connect;
use crate::firecracker::{Client, InstanceState};

/// How long one API may take to answer an observation.
const LIMIT: Duration = Duration::from_secs(2);
/// APIs that are asked at once.
const AT_ONCE: usize = 16;

/// The processes whose guests are known to run.
#[derive(Default)]
pub struct Instances {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    running: BTreeMap<VmUid, Process>,
    /// Grows with everything that is forgotten: what was asked before that
    /// says nothing of what is so after it.
    forgotten: u64,
}

impl Instances {
    /// The state of each VMM's instance.
    pub async fn of(
        &self,
        layout: &Layout,
        vmms: Vec<(VmUid, Process)>,
    ) -> BTreeMap<VmUid, Instance> {
        let mark = {
            let there: BTreeMap<_, _> = vmms.iter().copied().collect();
            let mut known = self.lock();
            known
                .running
                .retain(|uid, process| there.get(uid) == Some(process));
            known.forgotten
        };
        stream::iter(vmms)
            .map(|(uid, process)| async move {
                if self.is_running(uid, process) {
                    return (uid, Instance::Running);
                }
                let instance = ask(layout, uid).await;
                if instance == Instance::Running {
                    self.learn(uid, process, mark);
                }
                (uid, instance)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    /// Has this VM's API asked again.
    pub fn forget(&self, uid: VmUid) {
        let mut known = self.lock();
        known.running.remove(&uid);
        known.forgotten += 1;
    }

    fn learn(&self, uid: VmUid, process: Process, mark: u64) {
        let mut known = self.lock();
        if known.forgotten == mark {
            known.running.insert(uid, process);
        }
    }

    fn is_running(&self, uid: VmUid, process: Process) -> bool {
        self.lock().running.get(&uid) == Some(&process)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(layout: &Layout, uid: VmUid) -> Instance {
    let asked = async {
        let stream = connect(&layout.sockets(uid), socket::API).await?;
        let mut client = Client::new(stream, LIMIT).await?;
        Ok::<_, io::Error>(client.instance().await?)
    };
    match tokio::time::timeout(LIMIT, asked).await {
        Ok(Ok(InstanceState::NotStarted)) => Instance::NotStarted,
        Ok(Ok(InstanceState::Running)) => Instance::Running,
        Ok(Ok(InstanceState::Paused)) => Instance::Paused,
        Ok(Err(error)) => Instance::Unknown(error.to_string()),
        Err(_) => Instance::Unknown(format!("no answer within {} s", LIMIT.as_secs())),
    }
}
