//! Giving Firecracker its machine and starting the guest; and taking care of
//! guests that were started by a former daemon.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use banger_agent_protocol::{GuestConfig, GuestFile};
use banger_core::intent::{Applied, VmIntent, VmSpec};
use banger_core::record::Incarnation;
use banger_core::seam::StepError;
use banger_protocol::VmUid;
use banger_protocol::install::socket;
use banger_protocol::inventory::{Probe, Process};
use banger_protocol::slot::gateway;

use super::host::boot_id;
use super::shared::Shared;
use super::{failure, record};
use crate::firecracker::socket::connect;
use crate::firecracker::{ApiError, Client, InstanceState, Machine, Put};
use crate::guest::attendant::Attendant;
use crate::guest::{config, nameservers};
use crate::observe::process::Alive;

/// How long one request to the API may take; the start of a guest reads its
/// kernel and initrd.
const REQUEST: Duration = Duration::from_secs(60);

impl Shared {
    pub(super) async fn boot_guest(
        self: &Arc<Self>,
        vm: &VmIntent,
        applied: &Applied,
    ) -> Result<(), StepError> {
        let uid = vm.uid;
        let process = self.process_of(uid).await?.ok_or_else(|| {
            StepError::transient("Firecracker is not running, so that there is nothing to boot")
        })?;
        let work_disk = self.has_work_disk(vm).await?;
        let mut config = self.guest_config(vm, &vm.spec, work_disk).await?;
        config.files = self.files_of(&vm.spec).await?;
        self.attend(uid, process, config)
            .await
            .map_err(|error| StepError::transient(format!("listen for the guest: {error}")))?;
        let started = VmIntent {
            applied: Some(applied.clone()),
            ..vm.clone()
        };
        self.start_guest(machine(vm, work_disk), started, process)
            .await
            .map_err(|error| StepError::transient(error.chain()).because(error))
    }

    /// Nothing where the guest has been started already.
    async fn start_guest(
        &self,
        machine: Machine,
        vm: VmIntent,
        process: Process,
    ) -> Result<(), BootError> {
        let uid = vm.uid;
        let sockets = self.layout.sockets(uid);
        let stream = connect(&sockets, socket::API)
            .await
            .map_err(BootError::Socket)?;
        let mut api = Client::new(stream, REQUEST).await?;
        if api.instance().await? != InstanceState::NotStarted {
            return Ok(());
        }
        // Into the file that the helper made; a former try may have set it. A guest
        // without metrics is a guest all the same.
        if let Err(error) = api.put(&Put::metrics()).await
            && !error.has_metrics_already()
        {
            let error = error.chain();
            tracing::warn!(vm_uid = %uid, %error, "Firecracker writes no metrics");
        }
        for put in machine.puts() {
            api.put(&put).await?;
        }
        // Before the guest runs: a daemon that dies now can tell the next one.
        let start = Incarnation {
            boot_id: boot_id(),
            process,
        };
        let layout = self.layout.clone();
        let record = move || record::write(&layout, vm, Some(start));
        if let Err(error) = tokio::task::spawn_blocking(record).await {
            tracing::warn!(vm_uid = %uid, %error, "the record was not written");
        }
        api.put(&Put::instance_start()).await?;
        Ok(())
    }

    /// Takes care of a guest that runs and has no attendant: this daemon was
    /// started after it.
    pub(super) async fn adopt(self: &Arc<Self>, vm: &VmIntent, process: Process) {
        let spec = vm
            .applied
            .as_ref()
            .map_or(&vm.spec, |applied| &applied.spec);
        let adopted = async {
            let work_disk = spec.work_disk.is_some();
            let mut config = self.guest_config(vm, spec, work_disk).await?;
            // It runs: nearly always it has them, and it is not to be lost for
            // a file that went meanwhile.
            config.files = self.files_of(spec).await.unwrap_or_else(|error| {
                tracing::warn!(vm_uid = %vm.uid, %error, "the guest can't be given its files again");
                Vec::new()
            });
            self.attend(vm.uid, process, config)
                .await
                .map_err(|error| StepError::transient(error.to_string()))
        };
        if let Err(error) = adopted.await {
            tracing::warn!(vm_uid = %vm.uid, %error, "the running guest can't be listened to");
        }
    }

    /// An attendant for this process. One that is there already goes on, with
    /// the new configuration; one of a process that is gone makes room.
    async fn attend(&self, uid: VmUid, process: Process, config: GuestConfig) -> io::Result<()> {
        let _attending = self.attending.lock().await;
        if let Some(attendant) = self.attendants.get(uid) {
            if attendant.process == process {
                attendant.reconfigure(config);
                return Ok(());
            }
            // What is asked for may be older than what is there.
            if Alive::hold(attendant.process)?.is_some() {
                return Ok(());
            }
        }
        self.attendants.dismiss(uid);
        let changed = Arc::clone(&self.changed);
        let attendant = Attendant::attend(&self.layout, uid, process, config, changed)?;
        self.attendants.put(uid, attendant);
        // What was seen running may have ended since, and its exit is told
        // only once: nobody would dismiss an attendant that came after it.
        if Alive::hold(process)?.is_none() {
            self.attendants.dismiss_of(uid, process);
        }
        Ok(())
    }

    async fn guest_config(
        &self,
        vm: &VmIntent,
        spec: &VmSpec,
        work_disk: bool,
    ) -> Result<GuestConfig, StepError> {
        let key = self.owner_key().await?;
        let servers = match self.dns {
            true => vec![gateway(self.install.subnet)],
            false => nameservers::of_host(),
        };
        let ula = self.ula.filter(|_| self.has_ipv6());
        let config = config::of_vm(vm, spec, &self.install, &key, servers);
        Ok(GuestConfig {
            work_disk,
            ipv6: ula.map(|ula| config::ipv6(vm, ula)),
            ..config
        })
    }

    /// The owner's files that the spec names, as they are now.
    pub(super) async fn files_of(&self, spec: &VmSpec) -> Result<Vec<GuestFile>, StepError> {
        let (own, wanted) = (self.own_files.clone(), spec.file_sync.clone());
        failure::blocking(move || {
            own.read(&wanted).map_err(|error| StepError {
                remedy: Some(error.remedy()),
                ..StepError::transient(error.to_string())
            })
        })
        .await
    }

    /// The owner's public key.
    pub(super) async fn owner_key(&self) -> Result<String, StepError> {
        self.owner_key.public().await.map_err(|error| {
            StepError::lasting(
                error.to_string(),
                "install openssh-client, and let bangerd write to ~/.local/state/banger",
            )
            .because(error)
        })
    }

    /// The VMM's process as the handles have it, or else as the helper has it.
    pub(super) async fn process_of(&self, uid: VmUid) -> Result<Option<Process>, StepError> {
        if let Some(process) = self.handles.get(uid).process {
            return Ok(Some(process));
        }
        match self.helper.inventory().await?.vmms {
            Probe::Known(vmms) => Ok(vmms
                .iter()
                .find(|vmm| vmm.uid == uid)
                .and_then(|vmm| vmm.process)),
            Probe::Unknown(why) => Err(StepError::transient(format!(
                "the running VMMs can't be read: {why}"
            ))),
        }
    }
}

fn machine(vm: &VmIntent, work_disk: bool) -> Machine {
    Machine {
        vcpus: vm.spec.vcpus,
        memory_mib: vm.spec.memory.mib(),
        work_disk,
        tap: vm.allocation.slot.tap(),
        mac: vm.allocation.mac,
        cid: vm.allocation.slot.cid(),
    }
}

/// The guest can't be started.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("Firecracker's API socket can't be reached")]
    Socket(#[source] io::Error),
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl BootError {
    fn chain(&self) -> String {
        match self {
            Self::Socket(cause) => format!("{self}: {cause}"),
            Self::Api(error) => error.chain(),
        }
    }
}
