//! Bounds of the configuration, each with its reason.

use std::net::IpAddr;

use banger_protocol::{PoolSize, Ula, WarmUps};

use super::settings::Dns;
use super::{Config, Ipv6};
use crate::api::Quantity;
use crate::api::bounds::{
    MAX_BALLAST, MAX_DISK, MAX_GRACE_SECONDS, MAX_MEMORY, MAX_VCPUS, MIN_MEMORY, MIN_ROOT_DISK,
};

/// Field, message, remedy.
pub(super) type Finding = (&'static str, String, String);

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut number = |field, value: u32, least: u32, most: u32, why: &str| {
        if !(least..=most).contains(&value) {
            found.push((
                field,
                format!("{value} is not from {least} to {most}: {why}"),
                format!("write a number from {least} to {most}"),
            ));
        }
    };
    let (limits, defaults) = (&config.limits, &config.defaults);
    number(
        "limits.maxConcurrentActions",
        limits.max_concurrent_actions.into(),
        1,
        16,
        "with none nothing happens, and more only make the disk busier",
    );
    number(
        "pool.taps",
        config.pool.taps.into(),
        0,
        PoolSize::MOST.into(),
        "the helper keeps no more",
    );
    number(
        "pool.maxConcurrentTapWarmup",
        config.pool.max_concurrent_tap_warmup.into(),
        1,
        WarmUps::MOST.into(),
        "with none the pool stays empty, and more only wait for the kernel's one lock",
    );
    number(
        "directories.resyncSeconds",
        config.directories.resync_seconds,
        1,
        3600,
        "a change that wasn't announced is to be seen within the hour",
    );
    number(
        "trash.keepDays",
        config.trash.keep_days.into(),
        1,
        3650,
        "a deletion is to be regretted in time, and a disk doesn't last for ever",
    );
    number(
        "defaults.vcpus",
        defaults.vcpus.into(),
        1,
        MAX_VCPUS.into(),
        "Firecracker gives a VM at most 32 processors",
    );
    number(
        "defaults.terminationGracePeriodSeconds",
        defaults.termination_grace_period_seconds,
        0,
        MAX_GRACE_SECONDS,
        "a shutdown of the host waits for it",
    );
    let mut size = |field, value: Quantity, least: Quantity, most: Quantity| {
        if value < least || value > most || Quantity::from_mib(value.mib()) != value {
            found.push((
                field,
                format!("{value} is not a whole number of MiB from {least} to {most}"),
                format!("write an amount such as \"{least}\", in quotes"),
            ));
        }
    };
    size("defaults.memory", defaults.memory, MIN_MEMORY, MAX_MEMORY);
    size(
        "defaults.rootDisk",
        defaults.root_disk,
        MIN_ROOT_DISK,
        MAX_DISK,
    );
    let disk = &config.disk;
    let none = Quantity::default();
    for (field, value, least, most, example) in [
        (
            "disk.pauseCreatesBelow",
            disk.pause_creates_below,
            none,
            MAX_DISK,
            "2Gi",
        ),
        (
            "disk.pauseGuestsBelow",
            disk.pause_guests_below,
            none,
            disk.pause_creates_below.min(MAX_DISK),
            "512Mi",
        ),
        (
            "disk.hysteresis",
            disk.hysteresis,
            Quantity::from_mib(1),
            MAX_DISK,
            "256Mi",
        ),
        ("disk.ballast", disk.ballast, none, MAX_BALLAST, "256Mi"),
    ] {
        if value < least || value > most || Quantity::from_mib(value.mib()) != value {
            found.push((
                field,
                format!("{value} is not a whole number of MiB from {least} to {most}"),
                format!("write an amount such as \"{example}\", in quotes"),
            ));
        }
    }
    if limits.memory_headroom > MAX_MEMORY {
        found.push((
            "limits.memoryHeadroom",
            format!(
                "{} leaves no host any memory for VMs",
                limits.memory_headroom
            ),
            "write an amount such as \"256Mi\", in quotes".to_owned(),
        ));
    }
    if let Some(subnet) = config.network.subnet
        && (subnet.addr() != subnet.network() || subnet.prefix_len() > 30)
    {
        found.push((
            "network.subnet",
            format!("`{subnet}` is not a subnet with room for guests"),
            format!(
                "write its first address and a prefix of at most 30, such as \"{}/{}\"",
                subnet.network(),
                subnet.prefix_len().min(24)
            ),
        ));
    }
    if let Some(Ipv6::Prefix(prefix)) = config.network.ipv6
        && let Err(wrong) = Ula::try_from(prefix)
    {
        found.push((
            "network.ipv6",
            wrong.to_string(),
            "write a /64 such as \"fd12:3456:789a:1::/64\", or \"off\"".to_owned(),
        ));
    }
    found.extend(upstreams_problem(&config.dns));
    for (field, path) in [
        ("directories.vms", &config.directories.vms),
        ("directories.images", &config.directories.images),
    ] {
        if path.as_os_str().is_empty()
            || path
                .to_str()
                .is_some_and(|p| p.starts_with("~") && p != "~" && !p.starts_with("~/"))
        {
            found.push((
                field,
                "this is not the path of a directory".to_owned(),
                "write an absolute path, one that begins with `~/`, or one relative to this file"
                    .to_owned(),
            ));
        }
    }
    found
}

/// resolv.conf(5), `MAXNS`: a client gives up before a fourth was asked.
const MAX_UPSTREAMS: usize = 3;

fn upstreams_problem(dns: &Dns) -> Option<Finding> {
    let field = "dns.upstreams";
    if dns.upstreams.len() > MAX_UPSTREAMS {
        return Some((
            field,
            format!(
                "{} servers are more than {MAX_UPSTREAMS}",
                dns.upstreams.len()
            ),
            format!("write at most {MAX_UPSTREAMS}"),
        ));
    }
    let nobody = |ip: &&IpAddr| ip.is_unspecified() || ip.is_multicast();
    let ip = dns.upstreams.iter().find(nobody)?;
    Some((
        field,
        format!("`{ip}` is no server's address"),
        "write addresses such as \"192.0.2.53\", in quotes".to_owned(),
    ))
}
