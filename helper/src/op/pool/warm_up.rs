//! Taps are made in batches, until the pool is full. A batch that fails as a
//! whole ends it: the kernel has no more, and asking on would not change that.

use banger_protocol::WarmUps;
use futures::future::join_all;
use rtnetlink::LinkUnspec;

use super::standing::name;
use super::stock::Room;
use super::{ALIAS, Pool, ROOT};
use crate::Failure;
use crate::failure::blocking;
use crate::netlink::{Link, Netlink};
use crate::tun::Tap;

/// Fills the pool. Answers whether anything was missing.
pub(super) async fn run(
    pool: &Pool,
    netlink: &Netlink,
    bridge: &Link,
    parallel: WarmUps,
) -> Result<bool, Failure> {
    let mut changed = false;
    loop {
        let batch = pool.stock.room(parallel.get().into());
        if batch.is_empty() {
            return Ok(changed);
        }
        let all = batch.len();
        let made = join_all(batch.into_iter().map(|room| make(netlink, bridge, room))).await;
        let failures: Vec<Failure> = made.into_iter().filter_map(Result::err).collect();
        pool.stock.count(all - failures.len(), failures.len());
        changed |= failures.len() < all;
        if failures.len() == all
            && let Some(last) = failures.into_iter().last()
        {
            return Err(last);
        }
    }
}

/// One tap. Until its last step it goes away with its descriptor.
async fn make(netlink: &Netlink, bridge: &Link, room: Room<'_>) -> Result<(), Failure> {
    let name = name(room.number);
    let made = name.clone();
    let tap = blocking("TUNSETIFF", move || Tap::make(&made, ROOT)).await?;
    // By name, which nobody else can have: that saves asking for the index.
    let message = LinkUnspec::new_with_name(&name)
        .alias(ALIAS)
        .controller(bridge.index)
        .build();
    netlink.set(&name, message).await?;
    tap.persist()?;
    room.fill();
    Ok(())
}
