//! What the APIs of running VMMs say, asked once per process: a guest that
//! was started never goes back to "not started".

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

/// The processes whose guests are known to have been started.
#[derive(Default)]
pub struct Instances {
    started: Mutex<BTreeMap<VmUid, Process>>,
}

impl Instances {
    /// The state of each VMM's instance.
    pub async fn of(
        &self,
        layout: &Layout,
        vmms: Vec<(VmUid, Process)>,
    ) -> BTreeMap<VmUid, Instance> {
        {
            let running: BTreeMap<_, _> = vmms.iter().copied().collect();
            self.lock()
                .retain(|uid, process| running.get(uid) == Some(process));
        }
        stream::iter(vmms)
            .map(|(uid, process)| async move {
                if self.is_started(uid, process) {
                    return (uid, Instance::Running);
                }
                let instance = ask(layout, uid).await;
                if instance == Instance::Running {
                    self.lock().insert(uid, process);
                }
                (uid, instance)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    fn is_started(&self, uid: VmUid, process: Process) -> bool {
        self.lock().get(&uid) == Some(&process)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VmUid, Process>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
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
        Ok(Ok(InstanceState::Running | InstanceState::Paused)) => Instance::Running,
        Ok(Err(error)) => Instance::Unknown(error.to_string()),
        Err(_) => Instance::Unknown(format!("no answer within {} s", LIMIT.as_secs())),
    }
}
