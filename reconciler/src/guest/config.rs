//! What a guest is told about itself.

use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use banger_agent_protocol::{GuestConfig, GuestIpv6};
use banger_core::intent::{VmIntent, VmSpec};
use banger_protocol::slot::gateway;
use banger_protocol::{Install, Ula};

/// The configuration for this VM when it runs with `spec`, without IPv6 and
/// files. The clock is set when it is handed out.
pub fn of_vm(
    vm: &VmIntent,
    spec: &VmSpec,
    install: &Install,
    owner_key: &str,
    nameservers: Vec<Ipv4Addr>,
) -> GuestConfig {
    GuestConfig {
        hostname: vm.name().to_string(),
        uid: vm.uid.to_string(),
        address: vm.allocation.address,
        prefix: install.subnet.prefix_len(),
        gateway: gateway(install.subnet),
        ipv6: None,
        nameservers,
        search: vec!["vm".to_owned()],
        work_disk: spec.work_disk.is_some(),
        authorized_keys: authorized_keys(spec, owner_key),
        env: spec.env.clone(),
        files: Vec::new(),
        now_ns: 0,
    }
}

/// The VM's part of the guests' IPv6 network.
pub fn ipv6(vm: &VmIntent, ula: Ula) -> GuestIpv6 {
    GuestIpv6 {
        address: ula.guest(vm.allocation.slot),
        prefix: ula.get().prefix_len(),
        gateway: ula.gateway(),
    }
}

/// The keys that may log in: the spec's and the owner's own.
pub fn authorized_keys(spec: &VmSpec, owner_key: &str) -> Vec<String> {
    let mut keys = spec.ssh_authorized_keys.clone();
    keys.push(owner_key.to_owned());
    keys
}

/// The host's wall clock, nanoseconds since the epoch.
pub fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .unwrap_or_default()
}
