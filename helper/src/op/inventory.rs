//! Everything of ours on the host, read in bulk and at once: one netlink dump,
//! one pass over the loop devices, three runs of dmsetup, one call to systemd.
//! A section that can't be read is unknown and says why; it never reads as empty.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use banger_protocol::VmUid;
use banger_protocol::inventory::{Dm, Exit, Inventory, Ipv6, Loop, Probe, Tap, TapPool, Vmm};

use crate::failure::blocking;
use crate::netlink::Netlink;
use crate::op::pool::{self, Standing};
use crate::op::{bridge, dm, loopdev, nat, vmm};
use crate::{Failure, Host};

/// Those that are asked for while one is read: they are answered by the next,
/// together. However many ask, one waits for two readings at most.
#[derive(Debug, Default)]
pub struct Readings {
    /// How many were begun.
    begun: AtomicU64,
    /// The last one that came to its end, and its number. Held by who reads.
    last: tokio::sync::Mutex<Option<(u64, Inventory)>>,
}

/// Reads it all, or takes what somebody else has begun to read meanwhile.
pub async fn read(host: &Host) -> Result<Inventory, Failure> {
    let readings = &host.readings;
    let before = readings.begun.load(Ordering::SeqCst);
    let mut last = readings.last.lock().await;
    if let Some((number, inventory)) = &*last
        && *number > before
    {
        return Ok(inventory.clone());
    }
    let number = readings.begun.fetch_add(1, Ordering::SeqCst) + 1;
    let inventory = look(host).await?;
    *last = Some((number, inventory.clone()));
    Ok(inventory)
}

async fn look(host: &Host) -> Result<Inventory, Failure> {
    let path = "/proc/sys/kernel/random/boot_id";
    let boot = std::fs::read_to_string(path).map_err(|e| Failure::os("read", path, e))?;
    let (vmms, network, loops, dms, nat) = tokio::join!(
        vmms(host),
        network(host),
        blocking("LOOP_GET_STATUS64", loopdev::tagged),
        dm::full(),
        nat::read(host)
    );
    let (taps, pool, bridge, ipv6) = match network {
        Ok(network) => (
            Probe::Known(network.taps),
            Probe::Known(network.pool),
            Probe::Known(network.bridge),
            Probe::Known(network.ipv6),
        ),
        Err(e) => {
            let why = unknown(&e);
            (
                Probe::Unknown(why.clone()),
                Probe::Unknown(why.clone()),
                Probe::Unknown(why.clone()),
                Probe::Unknown(why),
            )
        }
    };
    let (policy, obstacles) = match nat {
        Ok(nat) => (Probe::Known(nat.policy), Probe::Known(nat.obstacles)),
        Err(e) => (Probe::Unknown(unknown(&e)), Probe::Unknown(unknown(&e))),
    };
    let guests = match &policy {
        Probe::Known(policy) => Probe::Known(policy.as_ref().map(|it| it.guests.clone())),
        Probe::Unknown(why) => Probe::Unknown(why.clone()),
    };
    Ok(Inventory {
        boot_id: boot.trim().to_owned(),
        vmms: probe(vmms),
        taps,
        pool: Some(pool),
        loops: probe(loops.map(|found| found.into_iter().map(wire_loop).collect())),
        dms: probe(dms.map(|found| found.into_iter().filter_map(wire_dm).collect())),
        bridge,
        nat: guests,
        policy: Some(policy),
        obstacles: Some(obstacles),
        ipv6: Some(ipv6),
        legacy_tables: Some(probe(nat::legacy_tables())),
    })
}

async fn vmms(host: &Host) -> Result<Vec<Vmm>, Failure> {
    let units = host.systemd.units(vmm::PATTERN).await?;
    let mut states: BTreeMap<VmUid, Option<_>> = BTreeMap::new();
    for unit in units {
        let uid = unit
            .name
            .strip_prefix("banger-vm-")
            .and_then(|n| n.strip_suffix(".service"));
        if let Some(uid) = uid.and_then(|u| u.parse().ok()) {
            states.insert(uid, Some(unit));
        }
    }
    for uid in vmm::jails(host)? {
        states.entry(uid).or_default();
    }
    let mut found = Vec::new();
    for (uid, unit) in states {
        let process = vmm::process(host, uid)?;
        let exit = match &process {
            Some(_) => None,
            // systemd's word where the record could not be written.
            None => vmm::exit(host, uid)?.or_else(|| {
                unit.filter(|u| u.active == "failed").map(|u| Exit {
                    result: u.sub,
                    status: -1,
                })
            }),
        };
        found.push(Vmm {
            uid,
            process,
            executable: process.map(|process| probe(vmm::executable(process))),
            exit,
            jail: vmm::jail_present(host, uid)?,
        });
    }
    Ok(found)
}

struct Network {
    taps: Vec<Tap>,
    pool: TapPool,
    bridge: bool,
    ipv6: Ipv6,
}

async fn network(host: &Host) -> Result<Network, Failure> {
    let netlink = Netlink::open()?;
    let links = netlink.links().await?;
    let bridge = links
        .iter()
        .find(|l| l.name == host.install.bridge)
        .map(|l| l.index);
    let taps = links.iter().filter_map(|link| {
        let port = bridge.is_some() && link.controller == bridge;
        let uid = match pool::standing(link, bridge) {
            Standing::Vm(uid) => Some(uid),
            Standing::Foreign if port && link.name != bridge::CARRIER => None,
            _ => return None,
        };
        Some(Tap {
            name: link.name.clone(),
            uid,
            ifindex: link.index,
            attached: port && link.up,
        })
    });
    Ok(Network {
        taps: taps.collect(),
        pool: pool::counted(host, &links, bridge),
        bridge: bridge::stands(host, &netlink, &links).await?,
        ipv6: bridge::ipv6(host, &netlink, &links).await?,
    })
}

fn wire_loop(found: loopdev::Tagged) -> Loop {
    Loop {
        device: found.device,
        uid: found.uid,
        role: found.role,
        backing_device: found.backing_device,
        backing_inode: found.backing_inode,
    }
}

fn wire_dm(device: dm::Device) -> Option<Dm> {
    let (uid, part) = device.ours()?;
    Some(Dm {
        uid,
        part,
        node: device.node(),
        size: device.size,
        overflow: device.overflow,
        loops: device.loops,
        name: device.name,
    })
}

fn probe<T>(section: Result<T, Failure>) -> Probe<T> {
    match section {
        Ok(known) => Probe::Known(known),
        Err(e) => Probe::Unknown(unknown(&e)),
    }
}

fn unknown(failure: &Failure) -> String {
    match &failure.source {
        Some(cause) => format!("{failure}: {cause}"),
        None => failure.to_string(),
    }
}
