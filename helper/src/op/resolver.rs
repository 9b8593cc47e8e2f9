//! systemd-resolved's settings of the bridge: names under `vm` are asked for at
//! the bridge's own address, and no others. No other interface is touched, and
//! the request has no parameter that could name one.
//!
//! `nothing -> server, ~vm, no default route -> reverted`. The settings go with
//! the interface, and outlive a restart of systemd-resolved.

use banger_protocol::Handle;
use banger_protocol::slot::gateway;

use super::bridge;
use crate::netlink::Netlink;
use crate::resolved::{LinkSettings, Resolved};
use crate::{Done, Failure, Host, Outcome};

/// The domain below which VMs have their names.
const DOMAIN: &str = "vm";

/// Sets what isn't set as it should be.
pub async fn ensure(host: &Host) -> Done {
    let _turn = host.bridge.lock().await;
    let netlink = Netlink::open()?;
    let Some(bridge) = bridge::find(host, &netlink).await? else {
        let message = format!("{} isn't there, or not banger's", host.install.bridge);
        return Err(Failure::later("RTM_GETLINK", message));
    };
    let Some(resolved) = Resolved::connect().await? else {
        return Err(Failure::later(
            "D-Bus",
            "systemd-resolved isn't on the system bus",
        ));
    };
    let wanted = LinkSettings::routing(gateway(host.install.subnet), DOMAIN);
    if resolved.link(bridge.index).await? == wanted {
        return Ok(Outcome::Unchanged(Handle::None));
    }
    resolved.set(bridge.index, &wanted).await?;
    Ok(Outcome::Changed(Handle::None))
}

/// Takes the settings back, where there are any.
pub async fn remove(host: &Host) -> Done {
    let _turn = host.bridge.lock().await;
    let netlink = Netlink::open()?;
    // Settings of an interface that is gone are gone as well, and those of a
    // service that isn't there are nowhere.
    let Some(bridge) = bridge::find(host, &netlink).await? else {
        return Ok(Outcome::Unchanged(Handle::None));
    };
    let Some(resolved) = Resolved::connect().await? else {
        return Ok(Outcome::Unchanged(Handle::None));
    };
    if resolved.link(bridge.index).await?.untouched() {
        return Ok(Outcome::Unchanged(Handle::None));
    }
    resolved.revert(bridge.index).await?;
    Ok(Outcome::Changed(Handle::None))
}
