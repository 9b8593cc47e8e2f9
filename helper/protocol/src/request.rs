//! The closed set of operations. `ensure-*` and `remove-*` are idempotent;
//! what they answer is [`crate::Response`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::policy::is_false;
use crate::{
    DiskRole, Egress, LoopNumber, NetworkPolicy, PoolSize, Sectors, Slot, Version, VmUid, WarmUps,
};

/// One operation. Descriptors that it takes are named with it, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "op",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Request {
    /// The first request of every connection.
    Hello {
        /// What the client speaks.
        version: Version,
    },
    /// Everything of ours that the kernel and systemd hold, and what looks like it. Reads only.
    Inventory {},
    /// The bridge with its gateway address, from the install metadata, and on it
    /// the taps of VMs that were on one before.
    EnsureBridge {
        /// Whether it has the gateway's address of the IPv6 prefix, too, or
        /// none of that. From minor version 3 on.
        #[serde(default, skip_serializing_if = "is_false")]
        ipv6: bool,
    },
    /// So many taps on the bridge, made ahead of the VMs; at 0 they are removed.
    /// From minor version 1 on.
    EnsurePool {
        /// How many are kept, also of those that VMs give back.
        size: PoolSize,
        /// How many are made at once.
        parallel: WarmUps,
    },
    /// A tap on the bridge, its alias the uid, its user the VMM's uid. A warm
    /// one of the pool, if there is one.
    EnsureTap {
        /// The VM.
        uid: VmUid,
        /// Gives name and user.
        slot: Slot,
    },
    /// Takes the tap from the VM if its alias is the uid: cleaned and kept in
    /// the pool if there is room, removed otherwise.
    RemoveTap {
        /// The VM that the alias must carry.
        uid: VmUid,
        /// Gives the name.
        slot: Slot,
    },
    /// A loop device over the file. Descriptors: the disk file.
    EnsureLoop {
        /// The VM.
        uid: VmUid,
        /// What it is for; `base` is attached read-only.
        role: DiskRole,
    },
    /// Detaches the loop device if its tag is `banger/<uid>/<role>`, and
    /// answers only once the kernel has let go of the file.
    RemoveLoop {
        /// The VM that the tag must carry.
        uid: VmUid,
        /// The role that the tag must carry.
        role: DiskRole,
        /// The device.
        device: LoopNumber,
    },
    /// The root disk: a read-only origin (the base, zeros behind it) and a
    /// persistent snapshot with overflow support on top.
    EnsureDm {
        /// The VM; both loops must carry its tag.
        uid: VmUid,
        /// The loop over the image.
        base: LoopNumber,
        /// The loop over the copy-on-write store.
        cow: LoopNumber,
        /// Size of the root disk; at least the base's.
        size: Sectors,
    },
    /// Removes snapshot and origin if their dm UUIDs carry the uid.
    RemoveDm {
        /// The VM.
        uid: VmUid,
    },
    /// Forwarding and masquerade for exactly these guests, and what else guests
    /// may reach; the tables are replaced whole.
    EnsureNat {
        /// Guests that may reach beyond the host.
        guests: BTreeSet<Slot>,
        /// Guests that may begin nothing but with these networks. From minor
        /// version 2 on.
        #[serde(default, skip_serializing_if = "Egress::is_empty")]
        egress: Egress,
        /// Whether guests are kept from one another. From minor version 2 on.
        #[serde(default, skip_serializing_if = "is_false")]
        isolated: bool,
        /// Whether guests have IPv6. From minor version 3 on.
        #[serde(default, skip_serializing_if = "is_false")]
        ipv6: bool,
    },
    /// The DNS server's sockets, bound to port 53 of the bridge's address and
    /// nothing else. Descriptors: an unbound UDP and an unbound TCP socket, IPv4.
    /// From minor version 2 on.
    EnsureDns {},
    /// systemd-resolved asks the bridge's address for names under `vm`, and
    /// for no others. From minor version 2 on.
    EnsureResolver {},
    /// systemd-resolved knows nothing of the bridge any more. From minor
    /// version 2 on.
    RemoveResolver {},
    /// A fresh jail and a transient service that runs the jailer in it.
    /// Descriptors: kernel, initrd, serial log (open for appending).
    StartVmm {
        /// The VM.
        uid: VmUid,
        /// Gives the VMM's uid and gid.
        slot: Slot,
        /// Memory of the guest in MiB; the unit gets an overhead on top.
        memory_mib: u32,
        /// Processors of the guest.
        vcpus: u8,
        /// Whether the loop tagged `work` joins the jail as a drive.
        work_disk: bool,
    },
    /// Kills every process of the VMM's unit and answers once they are gone.
    KillVmm {
        /// The VM.
        uid: VmUid,
    },
    /// Removes jail, sockets and the failed unit of a VMM that isn't running.
    RemoveVmm {
        /// The VM.
        uid: VmUid,
    },
}

impl From<NetworkPolicy> for Request {
    fn from(policy: NetworkPolicy) -> Self {
        let NetworkPolicy {
            guests,
            egress,
            isolated,
            ipv6,
        } = policy;
        Self::EnsureNat {
            guests,
            egress,
            isolated,
            ipv6,
        }
    }
}

impl Request {
    /// The name of every operation, in the order of the variants: for whoever
    /// claims to have tried them all.
    pub const OPERATIONS: [&str; 17] = [
        "hello",
        "inventory",
        "ensure-bridge",
        "ensure-pool",
        "ensure-tap",
        "remove-tap",
        "ensure-loop",
        "remove-loop",
        "ensure-dm",
        "remove-dm",
        "ensure-nat",
        "ensure-dns",
        "ensure-resolver",
        "remove-resolver",
        "start-vmm",
        "kill-vmm",
        "remove-vmm",
    ];

    /// The operation's name on the wire.
    pub const fn op(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Inventory {} => "inventory",
            Self::EnsureBridge { .. } => "ensure-bridge",
            Self::EnsurePool { .. } => "ensure-pool",
            Self::EnsureTap { .. } => "ensure-tap",
            Self::RemoveTap { .. } => "remove-tap",
            Self::EnsureLoop { .. } => "ensure-loop",
            Self::RemoveLoop { .. } => "remove-loop",
            Self::EnsureDm { .. } => "ensure-dm",
            Self::RemoveDm { .. } => "remove-dm",
            Self::EnsureNat { .. } => "ensure-nat",
            Self::EnsureDns {} => "ensure-dns",
            Self::EnsureResolver {} => "ensure-resolver",
            Self::RemoveResolver {} => "remove-resolver",
            Self::StartVmm { .. } => "start-vmm",
            Self::KillVmm { .. } => "kill-vmm",
            Self::RemoveVmm { .. } => "remove-vmm",
        }
    }

    /// The VM that it is about.
    pub const fn vm(&self) -> Option<VmUid> {
        match self {
            Self::EnsureTap { uid, .. }
            | Self::RemoveTap { uid, .. }
            | Self::EnsureLoop { uid, .. }
            | Self::RemoveLoop { uid, .. }
            | Self::EnsureDm { uid, .. }
            | Self::RemoveDm { uid }
            | Self::StartVmm { uid, .. }
            | Self::KillVmm { uid }
            | Self::RemoveVmm { uid } => Some(*uid),
            Self::Hello { .. }
            | Self::Inventory {}
            | Self::EnsureBridge { .. }
            | Self::EnsurePool { .. }
            | Self::EnsureNat { .. }
            | Self::EnsureDns {}
            | Self::EnsureResolver {}
            | Self::RemoveResolver {} => None,
        }
    }

    /// How many descriptors must come with it.
    pub const fn descriptors(&self) -> usize {
        match self {
            Self::EnsureLoop { .. } => 1,
            Self::EnsureDns {} => 2,
            Self::StartVmm { .. } => 3,
            _ => 0,
        }
    }
}
