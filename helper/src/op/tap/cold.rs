//! Taps that are made because the pool has none.
//!
//! `absent -> made without persistence -> user, alias, bridge, up -> persistent`
//!
//! The kernel makes them one after another, however many ask: it has one lock for
//! all interfaces. So does a thread here, whoever asks first, for all that ask
//! meanwhile: threads that wait for that lock cost more than the work itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtnetlink::LinkUnspec;
use tokio::sync::oneshot;

use crate::Failure;
use crate::netlink::{self, Blocking};
use crate::op::pool::Claim;
use crate::tun::Tap;

/// The taps that are asked for.
#[derive(Debug, Default)]
pub struct Cold(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Order>,
    /// Somebody makes them.
    busy: bool,
}

#[derive(Debug)]
struct Order {
    tap: Claim,
    bridge: u32,
    made: oneshot::Sender<Result<u32, Failure>>,
}

impl Cold {
    /// Makes a tap, and answers its index.
    pub(super) async fn make(&self, tap: Claim, bridge: u32) -> Result<u32, Failure> {
        let (made, answer) = oneshot::channel();
        let order = Order { tap, bridge, made };
        if self.accept(order) {
            let turn = Turn(Arc::clone(&self.0));
            tokio::task::spawn_blocking(move || turn.run());
        }
        let died = |_| {
            Err(Failure::later(
                "TUNSETIFF",
                "the thread that makes taps died",
            ))
        };
        answer.await.unwrap_or_else(died)
    }

    /// Whether nobody makes them yet.
    fn accept(&self, order: Order) -> bool {
        let mut queue = lock(&self.0);
        queue.waiting.push_back(order);
        !std::mem::replace(&mut queue.busy, true)
    }
}

/// The one that makes them.
struct Turn(Arc<Mutex<Queue>>);

impl Turn {
    fn run(self) {
        let socket = Blocking::open();
        while let Some(order) = self.next() {
            // Nobody waits for it any more: it would belong to nobody's request.
            if order.made.is_closed() {
                continue;
            }
            let index = match &socket {
                Ok(socket) => make(socket, &order.tap, order.bridge),
                Err(e) => Err(Failure::later(e.step, e.to_string())),
            };
            let _ = order.made.send(index);
        }
    }

    /// With the last one the turn is over, under the same lock: whoever comes
    /// then begins another.
    fn next(&self) -> Option<Order> {
        let mut queue = lock(&self.0);
        let order = queue.waiting.pop_front();
        queue.busy = order.is_some();
        order
    }
}

/// A turn that died leaves nobody waiting for it.
impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *lock(&self.0) = Queue::default();
        }
    }
}

/// A crash before the last step leaves nothing: an unfinished tap goes away with its
/// descriptor.
fn make(socket: &Blocking, tap: &Claim, bridge: u32) -> Result<u32, Failure> {
    let Claim { uid, user, name } = tap;
    let tap = Tap::make(name, *user)?;
    // By name, which nobody else can have while the descriptor is open.
    let message = LinkUnspec::new_with_name(name)
        .alias(uid.to_string())
        .controller(bridge)
        .up()
        .build();
    socket.set(name, message)?;
    let gone = || Failure::later("SIOCGIFINDEX", format!("{name} vanished"));
    let index = netlink::index(name)?.ok_or_else(gone)?;
    tap.persist()?;
    Ok(index)
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use banger_protocol::VmUid;

    use super::*;

    fn order() -> (Order, oneshot::Receiver<Result<u32, Failure>>) {
        let (made, answer) = oneshot::channel();
        let tap = Claim {
            uid: VmUid::new(uuid::Uuid::from_u128(1)),
            user: 50_001,
            name: "bgr1".into(),
        };
        let order = Order {
            tap,
            bridge: 1,
            made,
        };
        (order, answer)
    }

    #[test]
    fn what_nobody_waits_for_is_not_made_and_the_turn_ends() {
        let cold = Cold::default();
        let (first, answer) = order();
        assert!(cold.accept(first));
        assert!(!cold.accept(order().0), "one turn at a time");
        drop(answer);
        Turn(Arc::clone(&cold.0)).run();
        assert!(lock(&cold.0).waiting.is_empty());
        assert!(cold.accept(order().0));
    }

    #[test]
    fn a_turn_that_dies_keeps_nobody_waiting() {
        let cold = Cold::default();
        let (first, mut answer) = order();
        assert!(cold.accept(first));
        let turn = Turn(Arc::clone(&cold.0));
        let died = std::thread::spawn(move || {
            let _turn = turn;
            panic!("as a test");
        });
        assert!(died.join().is_err());
        assert!(
            answer
                .try_recv()
                .is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
        );
        assert!(cold.accept(order().0), "and the next one begins a turn");
    }
}
