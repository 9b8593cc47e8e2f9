//! So many at once, of all clients together and of each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Seats that are taken and given back.
#[derive(Debug)]
pub(super) struct Quota {
    total: usize,
    each: usize,
    /// A leaf lock: never held across an await.
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    /// Clients that have none aren't in it, so that it never outgrows `total`.
    by_client: HashMap<IpAddr, usize>,
}

/// A seat; it is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    quota: Arc<Quota>,
    client: IpAddr,
}

impl Quota {
    pub(super) fn new(total: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            each,
            taken: Mutex::default(),
        })
    }

    /// A seat for this client, if it and all together have one left.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.total >= self.total {
            return None;
        }
        let own = taken.by_client.entry(client).or_default();
        if *own >= self.each {
            return None;
        }
        *own += 1;
        taken.total += 1;
        drop(taken);
        Some(Seat {
            quota: Arc::clone(self),
            client,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.quota.lock();
        taken.total -= 1;
        if let Some(own) = taken.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}
