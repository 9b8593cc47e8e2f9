//! Who is connected, and who makes room for the next.
//!
//! ```text
//! accepted -> idle <-> busy -> gone
//!              +-- asked to get up -> gone
//! ```
//!
//! A connection is busy while an operation of its own is under way. All other
//! time it is idle: before its `hello`, within a frame, while its request waits
//! for its turn or for the end of a VMM, while its answer isn't read. Where
//! every seat is taken, the oldest connection that is idle gets up, once it has
//! had its seat for [`PATIENCE`].
//!
//! Guarantees: who does nothing, or nothing but wait, keeps nobody out, however
//! many there are; what is under way is never cut short for another; once asked
//! to get up, a connection begins nothing any more. All peers have one uid, so
//! that age is all there is to go by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long a seat is one's own although others wait. It is enough for a `hello`
/// and a request on a slow host, and as many as a full backlog holds (`somaxconn`,
/// 4096) are through in eight turns.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// The seats.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    table: Mutex<Table>,
    /// Somebody has left.
    left: Notify,
}

#[derive(Debug, Default)]
struct Table {
    taken: usize,
    next: u64,
    /// In the order in which they came.
    idle: BTreeMap<u64, Idle>,
    closed: bool,
}

#[derive(Debug)]
struct Idle {
    came: Instant,
    ask: watch::Sender<bool>,
}

/// One's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    came: Instant,
    ask: watch::Sender<bool>,
    asked: watch::Receiver<bool>,
}

impl Seats {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            table: Mutex::default(),
            left: Notify::new(),
        })
    }

    /// A seat, once there is one. For one caller at a time.
    pub(super) async fn take(self: &Arc<Self>) -> Seat {
        let mut asked = false;
        loop {
            let now = Instant::now();
            let due = {
                let mut table = self.table();
                if table.taken < self.most {
                    return self.seat(&mut table, now);
                }
                match table.idle.first_entry() {
                    _ if asked => None,
                    Some(oldest) => {
                        let due = oldest.get().came + PATIENCE;
                        if due <= now {
                            oldest.remove().ask.send_replace(true);
                            asked = true;
                            None
                        } else {
                            Some(due)
                        }
                    }
                    // An operation that ends makes somebody idle.
                    None => Some(now + PATIENCE),
                }
            };
            match due {
                None => self.left.notified().await,
                Some(due) => {
                    let _ = tokio::time::timeout_at(due, self.left.notified()).await;
                }
            }
        }
    }

    /// Everybody gets up who is idle, and who becomes so.
    pub(super) fn close(&self) {
        let mut table = self.table();
        table.closed = true;
        for (_, idle) in std::mem::take(&mut table.idle) {
            idle.ask.send_replace(true);
        }
    }

    /// Resolves once nobody is there.
    pub(super) async fn empty(&self) {
        while self.table().taken > 0 {
            self.left.notified().await;
        }
    }

    fn seat(self: &Arc<Self>, table: &mut Table, now: Instant) -> Seat {
        table.taken += 1;
        table.next += 1;
        let (ask, asked) = watch::channel(false);
        let mut seat = Seat {
            seats: Arc::clone(self),
            number: table.next,
            came: now,
            ask,
            asked,
        };
        seat.idle_at(table);
        seat
    }

    /// A leaf lock: never held across an await.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// From now on it may be asked to get up.
    pub(super) fn idle(&mut self) {
        let seats = Arc::clone(&self.seats);
        self.idle_at(&mut seats.table());
    }

    fn idle_at(&mut self, table: &mut Table) {
        if table.closed {
            self.ask.send_replace(true);
            return;
        }
        let (came, ask) = (self.came, self.ask.clone());
        table.idle.insert(self.number, Idle { came, ask });
    }

    /// An operation begins. `false`: it was asked to get up, nothing may begin.
    pub(super) fn busy(&mut self) -> bool {
        self.seats.table().idle.remove(&self.number).is_some()
    }

    /// Resolves once it has been asked to get up.
    pub(super) async fn asked(&self) {
        let mut asked = self.asked.clone();
        // The other end is `self`: it isn't gone.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.seats.table();
        table.idle.remove(&self.number);
        table.taken -= 1;
        drop(table);
        self.seats.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_that_is_idle_makes_room_and_no_other() {
        let seats = Seats::new(3);
        let mut working = seats.take().await;
        assert!(working.busy());
        let (mut old, young) = (seats.take().await, seats.take().await);
        let mut next = Box::pin(seats.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(old.asked().now_or_never().is_none(), "it has had no time");
        tokio::time::advance(PATIENCE).await;
        assert!(next.as_mut().now_or_never().is_none());
        assert!(old.asked().now_or_never().is_some());
        assert!(!old.busy(), "it was asked to get up");
        for other in [&working, &young] {
            assert!(other.asked().now_or_never().is_none());
        }
        drop(old);
        next.await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_ends_its_work_makes_room_too() {
        let seats = Seats::new(1);
        let mut only = seats.take().await;
        assert!(only.busy());
        let serving = async {
            tokio::time::sleep(PATIENCE * 4).await;
            only.idle();
            only.asked().await;
            drop(only);
        };
        tokio::join!(seats.take(), serving);
    }

    #[tokio::test]
    async fn closed_seats_empty() {
        let seats = Seats::new(8);
        let (idle, mut busy) = (seats.take().await, seats.take().await);
        assert!(busy.busy());
        seats.close();
        idle.asked().await;
        drop(idle);
        assert!(seats.empty().now_or_never().is_none());
        assert!(busy.asked().now_or_never().is_none());
        busy.idle();
        busy.asked().await;
        drop(busy);
        seats.empty().await;
    }
}
