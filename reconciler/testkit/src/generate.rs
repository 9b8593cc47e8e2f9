//! Intents for tests: small, valid, and named by number.

use banger_core::admit::canonical;
use banger_core::api::image::{FileSource, RootfsSource};
use banger_core::api::{ImageSpec, Metadata, Name, VirtualMachineSpec};
use banger_core::config::VmDefaults;
use banger_core::intent::{Allocation, Backoff, ImageIntent, PowerOverride, VmIntent};
use banger_protocol::{Slot, VmUid};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use uuid::Uuid;

/// The n-th uid.
pub fn uid(n: u16) -> VmUid {
    VmUid::new(Uuid::from_u128(
        0x0193_0000_0000_7000_8000_0000_0000_0000 | u128::from(n),
    ))
}

/// A name from a literal.
///
/// # Panics
/// When the text isn't a name.
pub fn name(text: &str) -> Name {
    text.parse().expect("a literal that is a name")
}

fn metadata(text: &str) -> Metadata {
    Metadata {
        name: name(text),
        labels: Default::default(),
        annotations: Default::default(),
    }
}

/// A spec that says no more than it must.
pub fn spec(image: &str) -> VirtualMachineSpec {
    VirtualMachineSpec {
        image: name(image),
        run_policy: None,
        vcpus: None,
        memory: None,
        root_disk: None,
        work_disk: None,
        network: None,
        ssh_authorized_keys: Vec::new(),
        file_sync: Vec::new(),
        env: Default::default(),
        update_policy: None,
        termination_grace_period_seconds: None,
    }
}

/// The n-th VM, `vm-<n>`, never started.
///
/// # Panics
/// When n is 0 or beyond the test subnet.
pub fn vm(n: u16, written: VirtualMachineSpec) -> VmIntent {
    let subnet: Ipv4Net = "172.30.0.0/16".parse().expect("a literal subnet");
    let slot = Slot::try_from(n).expect("slots start at 1");
    VmIntent {
        uid: uid(n),
        metadata: metadata(&format!("vm-{n}")),
        generation: 1,
        spec: canonical(&written, None, &VmDefaults::default()),
        written,
        applied: None,
        allocation: Allocation {
            slot,
            address: slot.address(subnet).expect("within the subnet"),
            mac: slot.mac(subnet).expect("within the subnet"),
        },
        image: None,
        power: PowerOverride::None,
        restart_token: 0,
        confirmations: Vec::new(),
        deletion: None,
        restoring: false,
        renaming: None,
        document: None,
        started: None,
        completed: false,
        crash: Backoff::default(),
        error: Backoff::default(),
        created: Timestamp::UNIX_EPOCH,
    }
}

/// An image of this name; its uid is the n-th from the top.
pub fn image(n: u16, text: &str) -> ImageIntent {
    let disk = FileSource {
        path: format!("/images/{text}.ext4"),
        sha256: None,
    };
    ImageIntent {
        uid: uid(u16::MAX - n),
        metadata: metadata(text),
        generation: 1,
        spec: ImageSpec {
            rootfs: RootfsSource {
                disk: Some(disk),
                ..RootfsSource::default()
            },
            kernel: None,
            modules: None,
            initrd: None,
            work_seed: None,
        },
        imported: None,
        deletion: None,
        error: Backoff::default(),
        created: Timestamp::UNIX_EPOCH,
    }
}
