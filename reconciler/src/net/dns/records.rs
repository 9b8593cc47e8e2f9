//! The names of live VMs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use banger_core::api::Name;
use banger_core::api::status::{Object, Phase};

/// Which name has which addresses, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
    names: BTreeMap<IpAddr, Name>,
}

impl Records {
    /// Those of the VMs whose guest runs. A VM that could not be observed
    /// keeps the record that it had in `before`: what isn't known makes no name
    /// and takes none away.
    pub fn of(vms: &[Object], before: &Self) -> Self {
        let mut records = Self::default();
        for vm in vms {
            let Some(runtime) = &vm.status.runtime else {
                continue;
            };
            let (name, address) = (&vm.metadata.name, IpAddr::V4(runtime.guest_ip));
            let second = runtime.guest_ip6.map(IpAddr::V6);
            let mut addresses: BTreeSet<IpAddr> = [address].into_iter().chain(second).collect();
            let live = match vm.status.phase {
                Phase::Booting | Phase::Ready | Phase::NotReady | Phase::Paused => true,
                Phase::Unknown => {
                    let had = before.addresses(name.as_str());
                    addresses.extend(had.into_iter().flatten());
                    before.name(address) == Some(name)
                }
                Phase::Pending
                | Phase::Importing
                | Phase::Creating
                | Phase::Stopping
                | Phase::Stopped
                | Phase::Failed
                | Phase::CrashLoopBackOff
                | Phase::Deleting => false,
            };
            if live {
                for address in addresses {
                    records.insert(name, address);
                }
            }
        }
        records
    }

    /// Adds an address of a VM.
    pub(super) fn insert(&mut self, name: &Name, address: IpAddr) {
        let addresses = self.addresses.entry(name.to_string()).or_default();
        addresses.insert(address);
        self.names.insert(address, name.clone());
    }

    /// Whether no VM has a name.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The addresses of the VM of this name, which is in lower case.
    pub fn addresses(&self, name: &str) -> Option<&BTreeSet<IpAddr>> {
        self.addresses.get(name)
    }

    /// The VM with this address.
    pub fn name(&self, address: IpAddr) -> Option<&Name> {
        self.names.get(&address)
    }
}
