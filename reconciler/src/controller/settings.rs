//! What the loop goes by: the configuration, and the place that it is for.

use std::path::PathBuf;
use std::time::Duration;

use banger_core::admit::Rules;
use banger_core::config::Config;
use banger_core::plan::PoolTarget;
use banger_core::pressure::DiskLimits;
use banger_core::status::Paths;
use ipnet::Ipv4Net;

/// How long a step may go on once the daemon is to stop; systemd waits longer.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the loop goes by. It doesn't change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where documents are read from.
    pub directories: Vec<PathBuf>,
    /// What `~/` stands for in documents.
    pub home: PathBuf,
    /// What admission goes by.
    pub rules: Rules,
    /// Where things lie.
    pub paths: Paths,
    /// Memory of the host that VMs leave alone, bytes.
    pub memory_headroom: u64,
    /// VMs that are acted on at a time.
    pub max_chains: usize,
    /// The tap pool; `None`: it is left as it is.
    pub pool: Option<PoolTarget>,
    /// What is done as the disk fills up.
    pub disk: DiskLimits,
    /// Whether guests reach one another.
    pub guest_to_guest: bool,
    /// Whether guests are to have IPv6, where the host has it.
    pub ipv6: bool,
    /// A pass is made so often even if nothing wakes the loop.
    pub resync: Duration,
    /// Disks stay in the trash for so long, in the daemon's running time.
    pub trash_keep: Duration,
    /// How long a step may go on once the daemon is to stop.
    pub patience: Duration,
}

/// What a daemon finds beside its configuration.
#[derive(Clone, Debug)]
pub struct Site {
    /// The owner's home.
    pub home: PathBuf,
    /// Where things lie.
    pub paths: Paths,
    /// The guests' subnet.
    pub subnet: Ipv4Net,
    /// VMs that the installation has room for.
    pub slots: u16,
    /// Whether guests are to have IPv6.
    pub ipv6: bool,
}

impl Settings {
    /// The settings of a daemon with this configuration, whose directories are
    /// absolute.
    pub fn of(config: &Config, site: Site) -> Self {
        Self {
            directories: vec![
                config.directories.vms.clone(),
                config.directories.images.clone(),
            ],
            home: site.home,
            rules: Rules {
                subnet: site.subnet,
                slots: site.slots,
                defaults: config.defaults.clone(),
            },
            paths: site.paths,
            memory_headroom: config.limits.memory_headroom.bytes(),
            max_chains: config.limits.max_concurrent_actions.into(),
            pool: config.pool.target(),
            disk: config.disk.limits(),
            guest_to_guest: config.network.guest_to_guest,
            ipv6: site.ipv6,
            resync: Duration::from_secs(config.directories.resync_seconds.into()),
            trash_keep: Duration::from_secs(u64::from(config.trash.keep_days) * 86_400),
            patience: PATIENCE,
        }
    }
}
