//! A VM's tap: on the bridge, its alias the VM's uid, its user the VMM's uid.
//!
//! `warm in the pool -> renamed, aliased, up`, or, where there is none, made
//! ([`cold`]). An interface of that name without our alias is refused.

mod cold;

use banger_protocol::{Handle, Slot, VmUid};
use netlink_packet_route::link::{InfoKind, LinkMessage};
use rtnetlink::LinkUnspec;

use super::pool::{self, Claim, Standing};
use crate::failure::blocking;
use crate::netlink::{self, Link, Netlink};
use crate::tun::Tap;
use crate::{Done, Failure, Host, Outcome};

pub use cold::Cold;

/// Makes the tap, or puts ours back on the bridge.
pub async fn ensure(host: &Host, uid: VmUid, slot: Slot) -> Done {
    let user = host.vmm_uid(slot)?;
    let name = slot.tap();
    let Some(bridge) = netlink::index(&host.install.bridge)? else {
        return Err(Failure::later(
            "bridge",
            format!(
                "{} is not there: ensure the bridge first",
                host.install.bridge
            ),
        ));
    };
    let claim = Claim { uid, user, name };
    if netlink::index(&claim.name)?.is_some()
        && let netlink = Netlink::open()?
        && let Some(link) = netlink.link(&claim.name).await?
    {
        if pool::standing(&link, Some(bridge)) == Standing::Unfinished {
            // A claim that was cut short, for this VM or for one before it.
            let index = pool::hand_over(host, &netlink, bridge, &link, &claim).await?;
            return Ok(Outcome::Changed(Handle::Tap(index)));
        }
        ours(&link, uid)?;
        let changed = repair(&netlink, bridge, &link, &claim).await?;
        return Ok(Outcome::new(changed, Handle::Tap(link.index)));
    }
    if let Some(index) = pool::claim(host, bridge, &claim).await? {
        return Ok(Outcome::Changed(Handle::Tap(index)));
    }
    let index = host.cold_taps.make(claim, bridge).await?;
    Ok(Outcome::Changed(Handle::Tap(index)))
}

/// Gives our tap back to its VMM, and puts it back on the bridge.
async fn repair(
    netlink: &Netlink,
    bridge: u32,
    link: &Link,
    claim: &Claim,
) -> Result<bool, Failure> {
    let (name, user) = (claim.name.clone(), claim.user);
    let mine = link.user == Some(user);
    if !mine {
        // A release that was cut short has made it root's.
        blocking("TUNSETOWNER", move || Tap::attach(&name)?.give(user)).await?;
    }
    let attached = link.up && link.controller == Some(bridge);
    if !attached {
        let message = attach(link, bridge, claim.uid);
        netlink.set(&claim.name, message).await?;
    }
    Ok(!(mine && attached))
}

/// Gives the tap to the pool, or deletes it, if its alias is the uid.
pub async fn remove(host: &Host, uid: VmUid, slot: Slot) -> Done {
    host.vmm_uid(slot)?;
    let netlink = Netlink::open()?;
    let Some(link) = netlink.link(&slot.tap()).await? else {
        return Ok(Outcome::Unchanged(Handle::None));
    };
    ours(&link, uid)?;
    let changed = pool::release(host, &netlink, &link).await?;
    Ok(Outcome::new(changed, Handle::None))
}

/// Whether it is a VM's tap that is on no bridge, because its own was removed
/// under it, or that is down. Another bridge's port is another installation's.
pub fn is_stray(link: &Link, bridge: u32) -> bool {
    let elsewhere = link.controller.is_some_and(|other| other != bridge);
    let attached = link.up && link.controller == Some(bridge);
    let vms = owner(link).is_some() && Slot::of_tap(&link.name).is_some();
    vms && !elsewhere && !attached
}

/// Puts every VM's stray tap back on the bridge. Answers whether there was one.
pub async fn attach_stray(host: &Host, netlink: &Netlink, bridge: &Link) -> Result<bool, Failure> {
    let links = netlink.links().await?;
    let mut changed = false;
    for link in links.iter().filter(|link| is_stray(link, bridge.index)) {
        // Held, it is on its way into the pool; unheld, it is what it is now.
        let Ok(_held) = pool::hold(host, link) else {
            continue;
        };
        let now = netlink.link_at(link.index).await?;
        let Some(link) = now.filter(|now| is_stray(now, bridge.index)) else {
            continue;
        };
        let join = LinkUnspec::new_with_index(link.index)
            .controller(bridge.index)
            .up()
            .build();
        netlink.set(&link.name, join).await?;
        changed = true;
    }
    Ok(changed)
}

/// The VM in a tap's alias.
fn owner(link: &Link) -> Option<VmUid> {
    if link.kind != Some(InfoKind::Tun) {
        return None;
    }
    link.alias.as_deref()?.parse().ok()
}

fn ours(link: &Link, uid: VmUid) -> Result<(), Failure> {
    if owner(link) == Some(uid) {
        return Ok(());
    }
    Err(Failure::refused(
        "alias",
        format!(
            "{} is not the tap of {uid}: its alias is `{}`; it stays as it is",
            link.name,
            link.alias.as_deref().unwrap_or("")
        ),
    ))
}

fn attach(link: &Link, bridge: u32, uid: VmUid) -> LinkMessage {
    LinkUnspec::new_with_index(link.index)
        .alias(uid.to_string())
        .controller(bridge)
        .up()
        .build()
}
