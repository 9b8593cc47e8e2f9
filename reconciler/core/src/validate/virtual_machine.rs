//! The spec of a VM.

use super::findings::Findings;
use super::{files, login, network};
use crate::api::VirtualMachineSpec;
use crate::api::bounds::{
    MAX_DISK, MAX_GRACE_SECONDS, MAX_MEMORY, MAX_VCPUS, MIN_MEMORY, MIN_ROOT_DISK, MIN_WORK_DISK,
};

pub(super) fn check(spec: &VirtualMachineSpec, findings: &mut Findings<'_>) {
    if let Some(vcpus) = spec.vcpus
        && !(1..=MAX_VCPUS).contains(&vcpus)
    {
        let why = if vcpus == 0 {
            "a VM has at least one processor".to_owned()
        } else {
            format!("Firecracker gives a VM at most {MAX_VCPUS} processors")
        };
        findings.refuse(
            "spec.vcpus",
            format!("{vcpus} processors are not possible: {why}"),
            format!("write a number from 1 to {MAX_VCPUS}"),
        );
    }
    if let Some(memory) = spec.memory {
        findings.size(
            "spec.memory",
            memory,
            (MIN_MEMORY, "a Linux guest doesn't boot with less than 64Mi"),
            (MAX_MEMORY, "no VM gets more than 1Ti of memory"),
        );
    }
    let largest = (MAX_DISK, "a disk is kept in one sparse file of at most 2Ti");
    if let Some(disk) = spec.root_disk {
        findings.size(
            "spec.rootDisk.size",
            disk.size,
            (
                MIN_ROOT_DISK,
                "no root file system fits into less than 64Mi",
            ),
            largest,
        );
    }
    if let Some(disk) = spec.work_disk {
        findings.size(
            "spec.workDisk.size",
            disk.size,
            (MIN_WORK_DISK, "a file system with its journal needs 16Mi"),
            largest,
        );
    }
    if let Some(seconds) = spec.termination_grace_period_seconds
        && seconds > MAX_GRACE_SECONDS
    {
        findings.refuse(
            "spec.terminationGracePeriodSeconds",
            format!("{seconds} s of grace are too long: a shutdown of the host waits for them"),
            format!("write a number from 0 to {MAX_GRACE_SECONDS} (one hour)"),
        );
    }
    if let Some(network) = &spec.network {
        network::check(network, findings);
    }
    login::ssh_keys(&spec.ssh_authorized_keys, findings);
    login::environment(&spec.env, findings);
    files::check(&spec.file_sync, findings);
}
