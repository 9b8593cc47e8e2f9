//! How many are inside at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts those that are inside, and the most that ever were. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd {
    count: Arc<Mutex<Count>>,
}

#[derive(Debug, Default)]
struct Count {
    inside: usize,
    most: usize,
}

/// One that is inside, until it is dropped: also where its future is.
#[derive(Debug)]
pub(crate) struct Inside(Crowd);

impl Crowd {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub(crate) fn enter(&self) -> Inside {
        let mut count = self.count();
        count.inside += 1;
        count.most = count.most.max(count.inside);
        Inside(self.clone())
    }

    /// The most that were inside at once since this was asked last.
    pub(crate) fn take_most(&self) -> usize {
        let mut count = self.count();
        let inside = count.inside;
        std::mem::replace(&mut count.most, inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.count().inside -= 1;
    }
}
