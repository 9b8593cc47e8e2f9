//! What steps and observations share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use banger_core::pressure::{DiskLimits, Pressure};
use banger_protocol::inventory::Process;
use banger_protocol::{Install, Ula, VmUid};
use tokio::sync::Notify;

use super::exit_watch::ExitWatch;
use super::layout::Layout;
use super::trash_list::TrashCache;
use super::writeback::Writeback;
use crate::guest::attendant::Attendant;
use crate::guest::own_files::OwnFiles;
use crate::guest::owner_key::OwnerKey;
use crate::helper_client::HelperClient;
use crate::observe::Instances;
use crate::observe::handles::HandleCache;

/// The state behind a [`super::RealHost`].
pub(super) struct Shared {
    pub(super) install: Install,
    /// Whether the bridge answers names, so that guests are to ask there.
    pub(super) dns: bool,
    /// The prefix of guests' IPv6 addresses; `None`: they have none.
    pub(super) ula: Option<Ula>,
    /// Whether the host, as last seen, could give them IPv6.
    pub(super) ipv6: AtomicBool,
    pub(super) layout: Layout,
    pub(super) helper: HelperClient,
    pub(super) handles: HandleCache,
    pub(super) instances: Instances,
    pub(super) attendants: Attendants,
    /// Held while an attendant is made, so that two don't fight over a socket.
    pub(super) attending: tokio::sync::Mutex<()>,
    pub(super) owner_key: OwnerKey,
    pub(super) own_files: OwnFiles,
    pub(super) changed: Arc<Notify>,
    pub(super) exits: ExitWatch,
    /// What is done as the disk fills up.
    pub(super) disk: DiskLimits,
    /// Bytes that guests wrote and that have no block of the disk yet
    /// ([`super::reserve`]).
    pub(super) unbacked: AtomicU64,
    /// Whether a guest was paused when it was last seen.
    pub(super) any_paused: AtomicBool,
    pub(super) trash: TrashCache,
    pub(super) writeback: Writeback,
}

impl Shared {
    /// With less than that of the disk guests are paused: so much is left alone.
    pub(super) fn keep_free(&self) -> u64 {
        self.disk
            .end_of(Pressure::Guests)
            .unwrap_or_default()
            .bytes()
    }

    /// Whether guests have IPv6, as far as the host is concerned.
    pub(super) fn has_ipv6(&self) -> bool {
        self.ula.is_some() && self.ipv6.load(Ordering::Relaxed)
    }

    /// Asks for a pass when the process ends; its attendant goes with it.
    pub(super) fn watch_exit(self: &Arc<Self>, uid: VmUid, process: Process) {
        // Weak, because the watch lives in what it would keep alive.
        let host = Arc::downgrade(self);
        self.exits.watch(uid, process, move || {
            if let Some(host) = host.upgrade() {
                host.attendants.dismiss_of(uid, process);
                host.changed.notify_one();
            }
        });
    }
}

/// The attendants of running VMMs.
#[derive(Default)]
pub(super) struct Attendants {
    /// A leaf lock: never held across an await.
    present: Mutex<BTreeMap<VmUid, Arc<Attendant>>>,
}

impl Attendants {
    pub(super) fn get(&self, uid: VmUid) -> Option<Arc<Attendant>> {
        self.lock().get(&uid).cloned()
    }

    pub(super) fn put(&self, uid: VmUid, attendant: Attendant) {
        self.lock().insert(uid, Arc::new(attendant));
    }

    /// Ends the VM's attendant, and closes its ports with it.
    pub(super) fn dismiss(&self, uid: VmUid) {
        self.lock().remove(&uid);
    }

    /// Ends the attendant of this process, not that of a later one.
    pub(super) fn dismiss_of(&self, uid: VmUid, process: Process) {
        let mut present = self.lock();
        if present.get(&uid).is_some_and(|a| a.process == process) {
            present.remove(&uid);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VmUid, Arc<Attendant>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
