//! The tap pool: taps on the bridge, made before a VM asks.
//!
//! ```text
//! absent --warm up--> warm --claim--> a VM's --release--> warm
//!                      |                        | no room
//!                      +--surplus--> absent <---+
//! ```
//!
//! Taps are made up to the pool's size; those that come back are kept up to
//! [`PoolSize::most_kept`], because the pool was filled up meanwhile, and to
//! delete a tap costs the kernel 16 ms.
//!
//! A warm tap is `tap-pool-<n>`, its alias `pool`, a port of our bridge, down,
//! and root's, so that no VMM can attach to it. It changes hands in one message,
//! because a crash of the helper can't divide that; whatever a crash leaves
//! between pool and VM is recognised ([`Standing::Unfinished`]), never handed
//! out, and cleaned or removed by the next `ensure-pool`.
//!
//! Guarantees: a tap that isn't provably ours is never touched, and its number
//! is skipped; no tap is handed out twice; what a guest's VMM could set on its
//! tap is gone before another gets it.
//! Assumes: only one helper serves a network namespace.

mod clean;
mod standing;
mod stock;
mod warm_up;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use banger_protocol::inventory::TapPool;
use banger_protocol::{Handle, PoolSize, VmUid, WarmUps};
use rtnetlink::LinkUnspec;
use tracing::{info, warn};

use crate::failure::blocking;
use crate::netlink::{Link, Netlink};
use crate::tun::Tap;
use crate::{Done, Failure, Host, Outcome};

pub use standing::{ALIAS, Standing, standing};
pub use stock::Stock;

/// Who may attach to a warm tap.
const ROOT: u32 = 0;

/// The pool of a host.
#[derive(Debug, Default)]
pub struct Pool {
    stock: Stock,
    /// Held by the one warm-up that is under way.
    turn: tokio::sync::Mutex<()>,
    /// Warm-ups that failed.
    failures: AtomicU64,
}

/// Makes what is missing of the pool, removes what is too much, and repairs
/// what a crash has left. Calls that come together are one warm-up.
pub async fn ensure(host: &Host, size: PoolSize, parallel: WarmUps) -> Done {
    let pool = &host.pool;
    let before = pool.failures.load(Ordering::Relaxed);
    let _turn = pool.turn.lock().await;
    if pool.failures.load(Ordering::Relaxed) != before {
        return Err(Failure::later(
            "warm-up",
            "the warm-up that this call waited for failed",
        ));
    }
    let netlink = Netlink::open()?;
    let (links, bridge) = look(host, &netlink).await?;
    pool.stock.set_size(size);
    let mut changed = clean::leftovers(host, &netlink, &links, bridge.as_ref()).await?;
    changed |= clean::surplus(host, &netlink).await?;
    if size.get() > 0 {
        let bridge = bridge.ok_or_else(|| {
            let name = &host.install.bridge;
            Failure::later("bridge", format!("{name} is not there: ensure it first"))
        })?;
        changed |= warm_up::run(pool, &netlink, &bridge, parallel)
            .await
            .inspect_err(|_| {
                pool.failures.fetch_add(1, Ordering::Relaxed);
            })?;
    }
    if changed {
        let (created, failed) = pool.stock.counts();
        info!(size = size.get(), created, failed, "the tap pool is ready");
    }
    Ok(Outcome::new(changed, Handle::None))
}

/// Hands a warm tap over to a VM, under its name. `None`: there is none.
pub async fn claim(host: &Host, bridge: u32, to: &Claim) -> Result<Option<u32>, Failure> {
    let stock = &host.pool.stock;
    if !stock.is_known() {
        look(host, &Netlink::open()?).await?;
    }
    while let Some(taken) = stock.take() {
        let netlink = Netlink::open()?;
        let found = netlink.link(&standing::name(taken.number)).await?;
        let warm = Standing::Warm(taken.number);
        let Some(link) = found.filter(|link| standing(link, Some(bridge)) == warm) else {
            continue;
        };
        match hand_over(host, &netlink, bridge, &link, to).await {
            Ok(index) => return Ok(Some(index)),
            // It is seen again by the next look; this VM needn't wait for it.
            Err(e) => warn!("{} could not be handed over: {e}", link.name),
        }
    }
    Ok(None)
}

/// Who gets a tap, and under which name.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The VM.
    pub uid: VmUid,
    /// The VMM's uid.
    pub user: u32,
    /// The tap's name.
    pub name: String,
}

/// Makes a tap of the pool the VM's, also one that a crash left half-way.
pub async fn hand_over(
    host: &Host,
    netlink: &Netlink,
    bridge: u32,
    link: &Link,
    to: &Claim,
) -> Result<u32, Failure> {
    let _held = hold(host, link)?;
    let tap = attach(netlink, link).await?;
    // First, because a tap under the VM's alias must be one that it can open.
    tap.give(to.user)?;
    let mut message = LinkUnspec::new_with_index(link.index)
        .alias(to.uid.to_string())
        .controller(bridge)
        .up();
    if link.name != to.name {
        message = message.name(&to.name);
    }
    if let Err(e) = netlink.set(&link.name, message.build()).await {
        // The next look repairs it, should this fail as well.
        let _ = tap.give(ROOT);
        return Err(e);
    }
    Ok(link.index)
}

/// Takes a VM's tap back, which the caller has found to be that VM's: into the
/// pool if there is room, else it is deleted. `false`: it was gone.
pub async fn release(host: &Host, netlink: &Netlink, link: &Link) -> Result<bool, Failure> {
    let _held = hold(host, link)?;
    let stock = &host.pool.stock;
    if let Some(room) = stock.spare_room()
        && let Some(bridge) = netlink.link(&host.install.bridge).await?
    {
        match clean::wash(netlink, &bridge, link, room.number).await {
            Ok(()) => {
                room.fill();
                return Ok(true);
            }
            Err(e) => info!("{} is deleted instead of kept: {e}", link.name),
        }
    }
    netlink.delete(link).await
}

/// The pool's part of the inventory.
pub fn counted(host: &Host, links: &[Link], bridge: Option<u32>) -> TapPool {
    let stock = &host.pool.stock;
    let (created, failed) = stock.counts();
    let mut pool = TapPool {
        size: stock.size(),
        created,
        failed,
        ..TapPool::default()
    };
    for link in links {
        match standing(link, bridge) {
            Standing::Warm(_) => pool.warm += 1,
            Standing::Unfinished => pool.unfinished += 1,
            Standing::Vm(_) => pool.in_use += 1,
            Standing::Foreign => {}
        }
    }
    pool
}

/// Reads the kernel, and takes over what it shows.
async fn look(host: &Host, netlink: &Netlink) -> Result<(Vec<Link>, Option<Link>), Failure> {
    let stock = &host.pool.stock;
    let mark = stock.mark();
    let links = netlink.links().await?;
    let bridge = links.iter().find(|link| link.name == host.install.bridge);
    let bridge = bridge.cloned();
    let (mut warm, mut foreign) = (BTreeSet::new(), BTreeSet::new());
    for link in &links {
        match standing(link, bridge.as_ref().map(|bridge| bridge.index)) {
            Standing::Warm(number) => {
                warm.insert(number);
            }
            // Whatever has such a name keeps others from it.
            _ => foreign.extend(standing::number(&link.name)),
        }
    }
    stock.learn(mark, &warm, foreign);
    Ok((links, bridge))
}

/// Keeps others from working on a tap; an error while somebody does.
pub fn hold<'a>(host: &'a Host, link: &Link) -> Result<stock::Held<'a>, Failure> {
    let busy = || Failure::later("pool", format!("{} is being worked on", link.name));
    host.pool.stock.hold(link.index).ok_or_else(busy)
}

/// Attaches to a tap, and makes sure that it is still the one that was looked at.
async fn attach(netlink: &Netlink, link: &Link) -> Result<Tap, Failure> {
    let name = link.name.clone();
    let tap = blocking("TUNSETIFF", move || Tap::attach(&name)).await?;
    let now = netlink.link_at(link.index).await?;
    if now.is_some_and(|now| now.name == link.name && now.alias == link.alias) {
        return Ok(tap);
    }
    let message = format!("{} became another interface", link.name);
    Err(Failure::later("RTM_GETLINK", message))
}
