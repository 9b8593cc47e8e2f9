//! Taps that come back, were left over, or are too many.

use futures::future::try_join_all;
use rtnetlink::LinkUnspec;
use tracing::{info, warn};

use super::standing::{Standing, name, standing};
use super::stock::{Held, Taken};
use super::{ALIAS, ROOT, attach};
use crate::netlink::{Link, Netlink};
use crate::{Failure, Host};

/// Makes a tap of ours a warm one, as if it were new. The caller holds it. A
/// crash in between leaves the tap of its VM, or one that is unfinished.
pub(super) async fn wash(
    netlink: &Netlink,
    bridge: &Link,
    link: &Link,
    number: u16,
) -> Result<(), Failure> {
    let tap = attach(netlink, link).await?;
    // From now on its VMM can't come back.
    tap.give(ROOT)?;
    tap.reset()?;
    // The bridge forgets the port, with whatever was set or learned on it.
    let down = LinkUnspec::new_with_index(link.index)
        .down()
        .nocontroller()
        .build();
    netlink.set(&link.name, down).await?;
    netlink.flush_addresses(link).await?;
    netlink.reset_queues(link).await?;
    let [a, b, c, d] = link.index.to_be_bytes();
    let mut message = LinkUnspec::new_with_index(link.index)
        .alias(ALIAS)
        // Its VMM may have changed it. Indexes are unique, and no guest's
        // address begins like this.
        .address(vec![0x02, 0xbc, a, b, c, d])
        .controller(bridge.index);
    let name = name(number);
    if name != link.name {
        message = message.name(name);
    }
    netlink.set(&link.name, message.build()).await
}

/// Cleans or removes what a crash has left between pool and VM.
pub(super) async fn leftovers(
    host: &Host,
    netlink: &Netlink,
    links: &[Link],
    bridge: Option<&Link>,
) -> Result<bool, Failure> {
    let stock = &host.pool.stock;
    let index = bridge.map(|bridge| bridge.index);
    let mut doomed: Vec<Held<'_>> = Vec::new();
    let mut changed = false;
    for link in links {
        if standing(link, index) != Standing::Unfinished {
            continue;
        }
        // Held, it is somebody's work under way; unheld, it is what it is now.
        let Some(held) = stock.hold(link.index) else {
            continue;
        };
        let now = netlink.link_at(link.index).await?;
        let Some(link) = now.filter(|now| standing(now, index) == Standing::Unfinished) else {
            continue;
        };
        info!("{} was left between pool and VM", link.name);
        match (stock.spare_room(), bridge) {
            (Some(room), Some(bridge)) => {
                match wash(netlink, bridge, &link, room.number).await {
                    Ok(()) => {
                        room.fill();
                        changed = true;
                    }
                    // Somebody is attached, or it can't be cleaned.
                    Err(e) => warn!("{} stays as it is: {e}", link.name),
                }
            }
            _ => doomed.push(held),
        }
    }
    let indexes: Vec<u32> = doomed.iter().map(Held::index).collect();
    Ok(changed | delete(host, netlink, |link| indexes.contains(&link.index)).await?)
}

/// Deletes warm taps beyond the most that are kept.
pub(super) async fn surplus(host: &Host, netlink: &Netlink) -> Result<bool, Failure> {
    let surplus = host.pool.stock.take_surplus();
    let names: Vec<String> = surplus
        .iter()
        .map(|taken: &Taken<'_>| name(taken.number))
        .collect();
    delete(host, netlink, |link| names.contains(&link.name)).await
}

/// Deletes those of the pool's taps, which the caller has taken or holds.
async fn delete(
    host: &Host,
    netlink: &Netlink,
    which: impl Fn(&Link) -> bool,
) -> Result<bool, Failure> {
    let links = netlink.links().await?;
    let bridge = links.iter().find(|link| link.name == host.install.bridge);
    let bridge = bridge.map(|bridge| bridge.index);
    let ours = |link: &&Link| {
        let standing = standing(link, bridge);
        which(link) && matches!(standing, Standing::Warm(_) | Standing::Unfinished)
    };
    let doomed: Vec<&Link> = links.iter().filter(ours).collect();
    match doomed.as_slice() {
        [] => Ok(false),
        [one] => netlink.delete(one).await,
        many => {
            let group = fresh_group(&links);
            let moves = many.iter().map(|link| {
                let message = LinkUnspec::new_with_index(link.index).link_group(group);
                netlink.set(&link.name, message.build())
            });
            try_join_all(moves).await?;
            netlink.delete_group(group).await?;
            Ok(true)
        }
    }
}

/// A group that no interface is in.
fn fresh_group(links: &[Link]) -> u32 {
    loop {
        let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
        let group = random as u32;
        if group != 0 && !links.iter().any(|link| link.group == group) {
            return group;
        }
    }
}
