//! Which operations run at once. A request waits for its VM's turn first, then
//! for a place among operations of its kind, so that one that can't begin yet
//! holds up none that could, and those of one kind none of another.
//!
//! `inventory` waits here for nothing. The numbers keep the helper below the
//! `TasksMax=` of its unit: an operation has at most one program or one thread of its
//! own at a time.

use std::sync::Arc;

use banger_protocol::Request;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::Host;

/// Operations of one kind at once; as many as a daemon has under way.
const AT_ONCE: usize = 32;

/// The kinds.
#[derive(Debug)]
pub(super) struct Lanes {
    /// The tables are replaced whole, one replacement after another.
    nat: Arc<Semaphore>,
    /// Bridge, pool, resolver and DNS sockets.
    network: Arc<Semaphore>,
    /// Taps, loops and device-mapper.
    devices: Arc<Semaphore>,
    /// VMMs: they wait for jobs of systemd, and copy kernels.
    machines: Arc<Semaphore>,
}

/// What a request holds while it is under way. The VM's turn is given up last.
#[derive(Debug)]
pub(super) struct Turn {
    _place: Option<OwnedSemaphorePermit>,
    _vm: Option<OwnedMutexGuard<()>>,
}

impl Default for Lanes {
    fn default() -> Self {
        let lane = |at_once| Arc::new(Semaphore::new(at_once));
        Self {
            nat: lane(1),
            network: lane(AT_ONCE),
            devices: lane(AT_ONCE),
            machines: lane(AT_ONCE),
        }
    }
}

impl Lanes {
    /// Waits for both.
    pub(super) async fn turn(&self, host: &Host, request: &Request) -> Turn {
        let (lane, vm) = match request {
            Request::Hello { .. } | Request::Inventory {} => (None, None),
            Request::EnsureNat { .. } => (Some(&self.nat), None),
            Request::EnsureBridge { .. }
            | Request::EnsurePool { .. }
            | Request::EnsureDns {}
            | Request::EnsureResolver {}
            | Request::RemoveResolver {} => (Some(&self.network), None),
            Request::EnsureTap { .. }
            | Request::RemoveTap { .. }
            | Request::EnsureLoop { .. }
            | Request::RemoveLoop { .. }
            | Request::EnsureDm { .. }
            | Request::RemoveDm { .. } => (Some(&self.devices), request.vm()),
            Request::StartVmm { .. } | Request::KillVmm { .. } | Request::RemoveVmm { .. } => {
                (Some(&self.machines), request.vm())
            }
        };
        let vm = match vm {
            Some(uid) => Some(host.vm(uid).await),
            None => None,
        };
        let place = match lane {
            // None of them is ever closed.
            Some(lane) => Arc::clone(lane).acquire_owned().await.ok(),
            None => None,
        };
        Turn {
            _place: place,
            _vm: vm,
        }
    }
}

#[cfg(test)]
mod tests {
    use banger_protocol::install::{Install, SUBNET};
    use banger_protocol::{NetworkPolicy, VmUid};
    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;

    fn host() -> Host {
        Host::new(Install::of("owner", 1000, 1000, SUBNET))
    }

    fn uid(n: u128) -> VmUid {
        VmUid::new(Uuid::from_u128(0x0192_0000_0000_7000_8000 << 48 | n))
    }

    #[tokio::test]
    async fn one_vms_requests_wait_beside_the_others() {
        let (host, lanes) = (host(), Lanes::default());
        let remove = |n| Request::RemoveDm { uid: uid(n) };
        let start = Request::KillVmm { uid: uid(0) };
        let slow = lanes.turn(&host, &start).await;
        // More than there are places; each waits for its VM and takes none.
        let crowd: Vec<_> = (0..AT_ONCE * 2).map(|_| remove(0)).collect();
        let mut crowd: Vec<_> = crowd
            .iter()
            .map(|request| Box::pin(lanes.turn(&host, request)))
            .collect();
        for waiting in &mut crowd {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        assert!(lanes.turn(&host, &remove(1)).now_or_never().is_some());
        drop(slow);
        assert!(crowd[0].as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn one_kind_waits_for_none_of_another() {
        let (host, lanes) = (host(), Lanes::default());
        let nat = Request::from(NetworkPolicy::default());
        let _held = lanes.turn(&host, &nat).await;
        assert!(lanes.turn(&host, &nat).now_or_never().is_none());
        let mut held = Vec::new();
        for n in 0..AT_ONCE {
            let kill = Request::KillVmm {
                uid: uid(n as u128),
            };
            held.push(lanes.turn(&host, &kill).await);
        }
        for other in [
            Request::Inventory {},
            Request::EnsureBridge { ipv6: false },
            Request::RemoveDm { uid: uid(1000) },
        ] {
            assert!(lanes.turn(&host, &other).now_or_never().is_some());
        }
    }
}
