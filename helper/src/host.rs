//! What the operations share: the install metadata, the places on the host,
//! and the locks.
//!
//! Lock order: a VM's lock, then a leaf (`bridge`, `nat`, those of `pool`). The VM's lock makes
//! concurrent repeats of one VM's operations take turns; nothing else waits
//! for it. `inventory` takes that of `readings`
//! and, as `nat` does, that of `references`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use banger_protocol::install::RUNTIME_DIR;
use banger_protocol::{Install, Slot, VmUid};
use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use crate::Failure;
use crate::failure::blocking;
use crate::manifest::{self, Standing};
use crate::op::inventory::Readings;
use crate::op::nat::{Last, References};
use crate::op::pool::Pool;
use crate::op::tap::Cold;
use crate::systemd::Systemd;

/// The host, as one installation may use it.
#[derive(Debug)]
pub struct Host {
    /// What `banger system install` decided.
    pub install: Install,
    /// `/run/banger`; the VMMs' socket directories stand in `vms` below it.
    pub runtime_dir: PathBuf,
    /// Where the unified cgroup hierarchy is mounted.
    pub cgroups: PathBuf,
    /// The service manager.
    pub systemd: Systemd,
    /// Held while the bridge is made.
    pub bridge: tokio::sync::Mutex<()>,
    /// Held while the NAT table is compared and replaced.
    pub nat: tokio::sync::Mutex<()>,
    /// What nft lists where the tables are as they should be.
    pub references: References,
    /// What nft listed last.
    pub nft: Last,
    /// The taps that are kept warm.
    pub pool: Pool,
    /// The taps that are made because none was kept.
    pub cold_taps: Cold,
    /// Inventories that are asked for together are one.
    pub readings: Readings,
    /// The programs of a VM were found to be as installed.
    verified: AtomicBool,
    vms: Mutex<HashMap<VmUid, Arc<tokio::sync::Mutex<()>>>>,
}

impl Host {
    /// The host with its usual places.
    pub fn new(install: Install) -> Self {
        Self {
            install,
            runtime_dir: RUNTIME_DIR.into(),
            cgroups: "/sys/fs/cgroup".into(),
            systemd: Systemd::default(),
            bridge: tokio::sync::Mutex::default(),
            nat: tokio::sync::Mutex::default(),
            references: References::default(),
            nft: Last::default(),
            pool: Pool::default(),
            cold_taps: Cold::default(),
            readings: Readings::default(),
            verified: AtomicBool::new(false),
            vms: Mutex::default(),
        }
    }

    /// Refuses, by name, unless the programs of a VM are those that were
    /// installed. That is looked at until it holds once: an installation that
    /// mends it is seen without a restart.
    pub async fn programs_as_installed(&self) -> Result<(), Failure> {
        if self.verified.load(Ordering::Relaxed) {
            return Ok(());
        }
        let install = self.install.clone();
        let standing = blocking("manifest", move || {
            manifest::verify(&install).map_err(|mismatch| {
                let remedy = "`sudo banger system install` puts it right";
                Failure::refused("manifest", format!("{mismatch}; {remedy}"))
            })
        });
        if standing.await? == Standing::NoManifest {
            warn!("no manifest says which programs were installed: they are not compared");
        }
        self.verified.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the VM's turn.
    pub async fn vm(&self, uid: VmUid) -> OwnedMutexGuard<()> {
        let lock = {
            let mut vms = self.vms.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody but the map holds an idle lock: forget those.
            vms.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(vms.entry(uid).or_default())
        };
        lock.lock_owned().await
    }

    /// The uid and gid of a slot's VMM, if the slot exists.
    pub fn vmm_uid(&self, slot: Slot) -> Result<u32, Failure> {
        if slot.get() > self.install.slots {
            return Err(Failure::refused(
                "slot",
                format!(
                    "slot {} does not exist: the installation has {}",
                    slot.get(),
                    self.install.slots
                ),
            ));
        }
        Ok(self.install.uid_base + u32::from(slot.get()))
    }

    /// `<jail_dir>/<name of the firecracker binary>`: the jailer's own layout.
    pub fn jails(&self) -> PathBuf {
        let name = self.install.firecracker.file_name();
        self.install
            .jail_dir
            .join(name.unwrap_or("firecracker".as_ref()))
    }

    /// Parent of the VMMs' socket directories.
    pub fn socket_dirs(&self) -> PathBuf {
        self.runtime_dir.join("vms")
    }

    /// The slice's directory in the cgroup file system.
    pub fn slice(&self) -> PathBuf {
        self.cgroups.join(crate::op::vmm::SLICE)
    }

    /// The state directory, on whose file system every disk must be.
    pub fn state_dir(&self) -> &Path {
        &self.install.state_dir
    }
}
