//! The canonical form of a VM's spec: every default filled in.

use banger_protocol::Cidrs;

use crate::api::virtual_machine::{DiskSpec, EgressSpec, NetworkSpec};
use crate::api::{Cidr, Quantity, VirtualMachineSpec};
use crate::config::VmDefaults;
use crate::intent::VmSpec;

/// Fills in what a document leaves out: with what was pinned when it was left
/// out before, or else with today's default.
pub fn canonical(
    written: &VirtualMachineSpec,
    pinned: Option<(&VirtualMachineSpec, &VmSpec)>,
    defaults: &VmDefaults,
) -> VmSpec {
    /// `written`, or what was pinned for a field that was left out before too, or the default.
    fn pick<T: Clone, U>(
        written: Option<T>,
        pinned: Option<(&VirtualMachineSpec, &VmSpec)>,
        was: impl Fn(&VirtualMachineSpec) -> Option<U>,
        kept: impl Fn(&VmSpec) -> T,
        default: T,
    ) -> T {
        written.unwrap_or_else(|| match pinned {
            Some((before, spec)) if was(before).is_none() => kept(spec),
            _ => default,
        })
    }
    let network = written.network.clone().unwrap_or_default();
    let mut ports = network.ports;
    ports.sort();
    // Validation has seen to the bound.
    let egress = network.egress.map(|egress| {
        let networks = egress.allow.into_iter().map(Cidr::get);
        Cidrs::of(networks).unwrap_or_default()
    });
    let mut file_sync = written.file_sync.clone();
    file_sync.sort_by(|one, other| one.path.cmp(&other.path));
    let size = |disk: DiskSpec| disk.size;
    VmSpec {
        image: written.image.clone(),
        run_policy: pick(
            written.run_policy,
            pinned,
            |w| w.run_policy,
            |s| s.run_policy,
            defaults.run_policy,
        ),
        vcpus: pick(
            written.vcpus,
            pinned,
            |w| w.vcpus,
            |s| s.vcpus,
            defaults.vcpus,
        ),
        memory: pick(
            written.memory,
            pinned,
            |w| w.memory,
            |s| s.memory,
            defaults.memory,
        ),
        root_disk: pick(
            written.root_disk.map(size),
            pinned,
            |w| w.root_disk,
            |s| s.root_disk,
            defaults.root_disk,
        ),
        work_disk: written.work_disk.map(size),
        nat: pick(
            network.nat,
            pinned,
            |w| w.network.as_ref().and_then(|network| network.nat),
            |s| s.nat,
            defaults.nat,
        ),
        ports,
        egress,
        ssh_authorized_keys: written.ssh_authorized_keys.clone(),
        file_sync,
        env: written.env.clone(),
        update_policy: pick(
            written.update_policy,
            pinned,
            |w| w.update_policy,
            |s| s.update_policy,
            defaults.update_policy,
        ),
        termination_grace_period_seconds: pick(
            written.termination_grace_period_seconds,
            pinned,
            |w| w.termination_grace_period_seconds,
            |s| s.termination_grace_period_seconds,
            defaults.termination_grace_period_seconds,
        ),
    }
}

/// The canonical form as a document would say it, nothing left out.
pub fn full(spec: &VmSpec) -> VirtualMachineSpec {
    let disk = |size: Quantity| DiskSpec { size };
    VirtualMachineSpec {
        image: spec.image.clone(),
        run_policy: Some(spec.run_policy),
        vcpus: Some(spec.vcpus),
        memory: Some(spec.memory),
        root_disk: Some(disk(spec.root_disk)),
        work_disk: spec.work_disk.map(disk),
        network: Some(NetworkSpec {
            nat: Some(spec.nat),
            ports: spec.ports.clone(),
            egress: spec.egress.as_ref().map(|egress| EgressSpec {
                allow: egress.iter().map(Cidr::from).collect(),
            }),
        }),
        ssh_authorized_keys: spec.ssh_authorized_keys.clone(),
        file_sync: spec.file_sync.clone(),
        env: spec.env.clone(),
        update_policy: Some(spec.update_policy),
        termination_grace_period_seconds: Some(spec.termination_grace_period_seconds),
    }
}
