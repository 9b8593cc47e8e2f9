//! The parts of what a host makes, and what each of them needs.

use banger_core::observed::ObservedVm;
use banger_core::plan::Step;
use banger_protocol::DiskRole;

use super::Bench;

/// Something that not every kernel, or not every machine, has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Loop devices.
    Loops,
    /// The program that makes an ext4.
    Ext4,
    /// Taps, and a bridge for them.
    Taps,
    /// nftables.
    Nftables,
    /// Device-mapper with snapshots.
    DeviceMapper,
    /// A service manager, whose units VMMs are.
    ServiceManager,
    /// Firecracker, its jailer, `/dev/kvm`, and an image that has a kernel.
    Firecracker,
}

/// A part of what a host makes. Each of a VM's takes in what it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A VM's disks, and the loop devices over them.
    Disks,
    /// A VM's root disk: the disks, and the snapshot over them.
    Root,
    /// A VM's tap.
    Tap,
    /// All of a VM but its VMM, which nobody starts here: that it is gone is
    /// part of it.
    Vm,
    /// All of a VM, and its VMM, in which no guest boots.
    Vmm,
    /// The bridge.
    Bridge,
    /// What guests may reach.
    Filter,
    /// The tap pool.
    Pool,
}

impl Part {
    /// What it can't do without.
    pub const fn needs(self) -> &'static [Need] {
        match self {
            Self::Disks => &[Need::Loops, Need::Ext4],
            Self::Root => &[Need::Loops, Need::Ext4, Need::DeviceMapper],
            Self::Tap | Self::Bridge | Self::Pool => &[Need::Taps],
            Self::Filter => &[Need::Taps, Need::Nftables],
            Self::Vm => &[
                Need::Loops,
                Need::Ext4,
                Need::DeviceMapper,
                Need::Taps,
                Need::ServiceManager,
            ],
            Self::Vmm => &[
                Need::Loops,
                Need::Ext4,
                Need::DeviceMapper,
                Need::Taps,
                Need::ServiceManager,
                Need::Firecracker,
            ],
        }
    }

    /// A word for a list.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disks => "disks",
            Self::Root => "root disk",
            Self::Tap => "tap",
            Self::Vm => "VM",
            Self::Vmm => "VM and VMM",
            Self::Bridge => "bridge",
            Self::Filter => "filter",
            Self::Pool => "tap pool",
        }
    }

    /// Steps that make it for a VM, in order.
    pub(super) fn made(self, bench: &Bench) -> Vec<Step> {
        let size = bench.size;
        let attach = |role, image| Step::AttachLoop { role, image };
        let disks = || {
            vec![
                Step::MakeRootDisk { size },
                Step::MakeWorkDisk { size },
                attach(DiskRole::Base, Some(bench.image.clone())),
                attach(DiskRole::Cow, None),
                attach(DiskRole::Work, None),
            ]
        };
        let root = || [disks(), vec![Step::EnsureRoot { size }]].concat();
        match self {
            Self::Disks => disks(),
            Self::Root => root(),
            Self::Tap => vec![Step::EnsureTap],
            Self::Vm => [root(), vec![Step::EnsureTap]].concat(),
            Self::Vmm => {
                let image = bench.image.clone();
                [Self::Vm.made(bench), vec![Step::StartVmm { image }]].concat()
            }
            Self::Bridge | Self::Filter | Self::Pool => Vec::new(),
        }
    }

    /// Steps that take it from a VM, except for disks, whatever is there.
    pub(super) fn removals(self) -> Vec<Step> {
        let detach = || {
            [DiskRole::Work, DiskRole::Cow, DiskRole::Base].map(|role| Step::DetachLoop { role })
        };
        let root = || [vec![Step::RemoveRoot], detach().to_vec()].concat();
        match self {
            Self::Disks => detach().to_vec(),
            Self::Root => root(),
            Self::Tap => vec![Step::RemoveTap],
            Self::Vm | Self::Vmm => {
                let vmm = vec![Step::KillVmm, Step::RemoveVmm, Step::RemoveTap];
                [vmm, root()].concat()
            }
            Self::Bridge | Self::Filter | Self::Pool => Vec::new(),
        }
    }

    /// Whether there are disks in it.
    pub(super) const fn has_disks(self) -> bool {
        matches!(self, Self::Disks | Self::Root | Self::Vm | Self::Vmm)
    }

    /// Whether a VM is seen to have nothing of it.
    pub(super) fn is_gone(self, here: &ObservedVm) -> bool {
        let disks = || {
            here.cow_file.is_absent()
                && here.work_file.is_absent()
                && here.base_loop.is_absent()
                && here.cow_loop.is_absent()
                && here.work_loop.is_absent()
        };
        match self {
            Self::Disks => disks(),
            Self::Root => disks() && here.root.is_absent() && here.origin.is_absent(),
            Self::Tap => here.tap.is_absent(),
            Self::Vm | Self::Vmm => *here == ObservedVm::absent(),
            Self::Bridge | Self::Filter | Self::Pool => true,
        }
    }
}
