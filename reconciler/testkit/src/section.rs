//! Parts of the host that can be read or not, each on its own.

use std::collections::BTreeSet;

use banger_core::observed::{Observed, ObservedVm, Presence};

/// What one probe reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// VMM processes and jails: one look at systemd and its cgroups.
    Vmms,
    /// Taps.
    Taps,
    /// Loop devices.
    Loops,
    /// Device-mapper devices.
    Dms,
    /// Disk files.
    Files,
    /// The bridge.
    Bridge,
    /// The NAT table.
    Nat,
    /// Imported images.
    Images,
    /// Room for the state directory.
    Room,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Vmms,
        Self::Taps,
        Self::Loops,
        Self::Dms,
        Self::Files,
        Self::Bridge,
        Self::Nat,
        Self::Images,
        Self::Room,
    ];

    /// The observation without these sections.
    pub(crate) fn blind(sections: &BTreeSet<Self>, mut observed: Observed) -> Observed {
        for section in sections {
            section.hide(&mut observed);
        }
        observed
    }

    fn hide(self, observed: &mut Observed) {
        let why = format!("injected: {self:?} can't be read");
        for vm in observed.vms.values_mut().chain([&mut observed.elsewhere]) {
            self.hide_of(vm, &why);
        }
        match self {
            Self::Bridge => {
                observed.bridge = Presence::Unknown(why.clone());
                observed.ipv6 = Presence::Unknown(why);
            }
            Self::Nat => {
                observed.nat = Presence::Unknown(why.clone());
                observed.obstacles = Presence::Unknown(why);
            }
            Self::Images => observed.images = Presence::Unknown(why),
            Self::Room => observed.room = Presence::Unknown(why),
            _ => {}
        }
    }

    fn hide_of(self, vm: &mut ObservedVm, why: &str) {
        fn unknown<T>(why: &str) -> Presence<T> {
            Presence::Unknown(why.to_owned())
        }
        match self {
            Self::Vmms => (vm.vmm, vm.jail) = (unknown(why), unknown(why)),
            Self::Taps => (vm.tap, vm.slot) = (unknown(why), None),
            Self::Loops => {
                (vm.base_loop, vm.cow_loop, vm.work_loop) =
                    (unknown(why), unknown(why), unknown(why));
            }
            Self::Dms => (vm.origin, vm.root) = (unknown(why), unknown(why)),
            Self::Files => {
                (vm.cow_file, vm.work_file, vm.record) = (unknown(why), unknown(why), None);
            }
            Self::Bridge | Self::Nat | Self::Images | Self::Room => {}
        }
    }
}
