//! The bridge with the guests' gateway address, and a dummy interface on it:
//! without a running port a bridge has no carrier, and systemd-resolved then
//! ignores its DNS servers.
//!
//! `absent -> made, aliased, addressed, up -> unchanged`. Never removed by the
//! helper; a bridge of that name without our alias is refused. Its IPv6 address
//! comes and goes as it is asked for. It stands only with the taps of all VMs on
//! it: what was cut short before the last one is told from what was finished.

use std::fmt::Display;

use banger_protocol::inventory::Ipv6;
use banger_protocol::slot::gateway;
use banger_protocol::{Handle, Install};
use ipnet::IpNet;
use netlink_packet_route::link::{InfoKind, LinkMessage};
use nix::errno::Errno;
use rtnetlink::{LinkBridge, LinkDummy, LinkMessageBuilder, LinkUnspec};

use crate::netlink::{Address, Link, Netlink};
use crate::op::tap;
use crate::{Done, Failure, Host, Outcome, ipv6};

/// The alias that marks bridge and dummy as banger's.
pub const ALIAS: &str = "banger";
/// The dummy port. No tap has this name: those end in a number.
pub const CARRIER: &str = "bgr-carrier";

/// Makes what is missing of the bridge, with IPv6 or without, and attaches the
/// taps of VMs that a former bridge has left behind.
pub async fn ensure(host: &Host, with_ipv6: bool) -> Done {
    if with_ipv6 && !ipv6::on()? {
        return Err(Failure::refused("IPv6", "the host has none"));
    }
    let _turn = host.bridge.lock().await;
    let install = &host.install;
    let netlink = Netlink::open()?;
    let (bridge, mut changed) = port(
        &netlink,
        &install.bridge,
        &[InfoKind::Bridge],
        bridge_message(install),
    )
    .await?;
    let addresses = netlink.addresses().await?;
    let own = own_address(install, bridge.index);
    if let Some(other) = stranger(install.subnet.into(), bridge.index, &addresses) {
        return Err(taken(&install.subnet, other));
    }
    if !addresses.contains(&own) {
        netlink.add_address(&bridge, own.ip, own.prefix).await?;
        changed = true;
    }
    let (carrier, made) = carrier(&netlink).await?;
    changed |= made;
    if !bridge.up {
        let up = LinkUnspec::new_with_index(bridge.index).up().build();
        netlink.set(&bridge.name, up).await?;
        changed = true;
    }
    if !carrier.up || carrier.controller != Some(bridge.index) {
        let join = LinkUnspec::new_with_index(carrier.index)
            .controller(bridge.index)
            .up()
            .build();
        netlink.set(CARRIER, join).await?;
        changed = true;
    }
    // After all that could take it down: then it would lose it.
    changed |= second_address(&netlink, install, &bridge, &addresses, with_ipv6).await?;
    changed |= tap::attach_stray(host, &netlink, &bridge).await?;
    Ok(Outcome::new(changed, Handle::None))
}

/// Whether the bridge stands as [`ensure`] leaves it. Reads only.
pub async fn stands(host: &Host, netlink: &Netlink, links: &[Link]) -> Result<bool, Failure> {
    let install = &host.install;
    let Some(bridge) = links.iter().find(|link| link.name == install.bridge) else {
        return Ok(false);
    };
    let carrier = links
        .iter()
        .any(|link| link.name == CARRIER && link.up && link.controller == Some(bridge.index));
    let ours = bridge.alias.as_deref() == Some(ALIAS);
    let whole = !links.iter().any(|link| tap::is_stray(link, bridge.index));
    let address = own_address(install, bridge.index);
    let stands = bridge.up && carrier && ours && whole;
    Ok(stands && netlink.addresses().await?.contains(&address))
}

/// How far IPv6 goes. Reads only.
pub async fn ipv6(host: &Host, netlink: &Netlink, links: &[Link]) -> Result<Ipv6, Failure> {
    let install = &host.install;
    if !ipv6::on()? {
        return Ok(Ipv6::Off);
    }
    let Some(bridge) = links.iter().find(|link| link.name == install.bridge) else {
        return Ok(Ipv6::Host);
    };
    let address = own_address6(install, bridge.index);
    let stands = netlink.addresses().await?.contains(&address) && ipv6::is_quiet(&bridge.name)?;
    Ok(if stands { Ipv6::Bridge } else { Ipv6::Host })
}

fn own_address(install: &Install, index: u32) -> Address {
    Address {
        index,
        ip: gateway(install.subnet).into(),
        prefix: install.subnet.prefix_len(),
    }
}

fn own_address6(install: &Install, index: u32) -> Address {
    let ula = install.ula();
    Address {
        index,
        ip: ula.gateway().into(),
        prefix: ula.get().prefix_len(),
    }
}

/// The address of the IPv6 prefix, or none of that.
async fn second_address(
    netlink: &Netlink,
    install: &Install,
    bridge: &Link,
    addresses: &[Address],
    wanted: bool,
) -> Result<bool, Failure> {
    let own = own_address6(install, bridge.index);
    let there = addresses.contains(&own);
    if !wanted {
        return Ok(there && netlink.remove_address(bridge, own.ip, own.prefix).await?);
    }
    let ula = install.ula().get();
    if let Some(other) = stranger(ula.into(), bridge.index, addresses) {
        return Err(taken(&ula, other));
    }
    let changed = ipv6::quieten(&bridge.name)?;
    // Whoever had switched IPv6 off there has taken the address away as well.
    if there && !changed {
        return Ok(false);
    }
    match netlink.add_address(bridge, own.ip, own.prefix).await {
        Err(e) if e.errno() == Some(Errno::EEXIST as i32) => Ok(changed),
        other => other.map(|()| true),
    }
}

/// An address within the guests' network that another interface has.
fn stranger(network: IpNet, bridge: u32, addresses: &[Address]) -> Option<&Address> {
    let mut others = addresses.iter().filter(|it| it.index != bridge);
    others.find(|it| network.contains(&it.ip))
}

fn taken(network: &impl Display, by: &Address) -> Failure {
    let Address { index, ip, .. } = by;
    Failure::refused(
        "subnet",
        format!(
            "{network} is taken: interface {index} has {ip}; install with another network for guests"
        ),
    )
}

/// The bridge, if it is there and ours. Reads only.
pub async fn find(host: &Host, netlink: &Netlink) -> Result<Option<Link>, Failure> {
    let found = netlink.link(&host.install.bridge).await?;
    Ok(found
        .filter(|link| link.alias.as_deref() == Some(ALIAS) && link.kind == Some(InfoKind::Bridge)))
}

/// The port that gives the bridge its carrier. A kernel without the dummy
/// driver may have ifb, which drops whatever isn't redirected to it.
async fn carrier(netlink: &Netlink) -> Result<(Link, bool), Failure> {
    let kinds = [InfoKind::Dummy, InfoKind::Ifb];
    let dummy = LinkDummy::new(CARRIER).build();
    match port(netlink, CARRIER, &kinds, dummy).await {
        Err(e) if e.errno() == Some(Errno::EOPNOTSUPP as i32) => {
            let ifb = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Ifb);
            port(netlink, CARRIER, &kinds, ifb.name(CARRIER).build()).await
        }
        other => other,
    }
}

/// Our interface of that name and one of these kinds, made if it wasn't there.
async fn port(
    netlink: &Netlink,
    name: &str,
    kinds: &[InfoKind],
    make: LinkMessage,
) -> Result<(Link, bool), Failure> {
    let found = netlink.link(name).await?;
    let missing = found.is_none();
    let link = match found {
        Some(link) => link,
        None => {
            netlink.add(name, make).await?;
            let gone = || Failure::later("RTM_GETLINK", format!("{name} vanished"));
            netlink.link(name).await?.ok_or_else(gone)?
        }
    };
    if !link.kind.as_ref().is_some_and(|kind| kinds.contains(kind)) {
        return Err(Failure::refused(
            "kind",
            format!("{name} exists and is something else"),
        ));
    }
    if missing {
        // The kernel ignores an alias at creation.
        let alias = LinkUnspec::new_with_index(link.index).alias(ALIAS).build();
        if let Err(e) = netlink.set(name, alias).await {
            // Without its alias the next call would have to refuse it.
            let _ = netlink.delete(&link).await;
            return Err(e);
        }
    } else if link.alias.as_deref() != Some(ALIAS) {
        return Err(Failure::refused(
            "alias",
            format!(
                "{name} was not made by banger (its alias is not `{ALIAS}`): rename or remove it, \
                 or install with another bridge name"
            ),
        ));
    }
    Ok((link, missing))
}

/// A fixed MAC: without one the bridge takes its lowest port's, and guests
/// keep the old one in their ARP caches.
fn bridge_message(install: &Install) -> LinkMessage {
    let [a, b, c, d] = gateway(install.subnet).octets();
    LinkBridge::new(&install.bridge)
        .address(vec![0x02, 0xba, a, b, c, d])
        .build()
}
