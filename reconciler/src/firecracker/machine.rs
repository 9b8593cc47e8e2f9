//! What Firecracker is told before the guest starts.

use banger_protocol::install::{jail, socket};
use serde_json::{Value, json};

/// The kernel's command line. `reboot=k` makes a reboot end the VMM; the
/// `i8042` words skip a probe of a keyboard that isn't there, and
/// `cryptomgr.notests` the self-tests of a crypto code that the host's kernel
/// has tested, a tenth to a fifth of a kernel's start; `root` is only for an
/// initrd of the owner's own, banger's knows its drives.
const BOOT_ARGUMENTS: &str = "console=ttyS0 reboot=k panic=1 pci=off quiet \
     i8042.noaux i8042.nokbd cryptomgr.notests root=/dev/vda rw";

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Processors.
    pub vcpus: u8,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Whether the jail holds a work drive.
    pub work_disk: bool,
    /// The tap's name.
    pub tap: String,
    /// The guest's MAC.
    pub mac: [u8; 6],
    /// The guest's vsock CID.
    pub cid: u32,
}

/// One `PUT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// Its path.
    pub resource: String,
    /// Its JSON.
    pub body: Value,
}

impl Put {
    fn new(resource: &str, body: Value) -> Self {
        Self {
            resource: resource.to_owned(),
            body,
        }
    }

    /// Starts the guest.
    pub fn instance_start() -> Self {
        Self::new("/actions", json!({"action_type": "InstanceStart"}))
    }

    /// Where the metrics go. A second one is refused, unlike the others.
    pub fn metrics() -> Self {
        let path = format!("{}/{}", jail::SOCKETS, socket::METRICS);
        Self::new("/metrics", json!({"metrics_path": path}))
    }
}

impl Machine {
    /// All that describes the machine, in order; each may be repeated while
    /// the guest hasn't started. The first drive is `/dev/vda`.
    pub fn puts(&self) -> Vec<Put> {
        let mut puts = vec![
            Put::new(
                "/machine-config",
                json!({
                    "vcpu_count": self.vcpus,
                    "mem_size_mib": self.memory_mib,
                    "smt": false,
                    "track_dirty_pages": false,
                }),
            ),
            Put::new(
                "/boot-source",
                json!({
                    "kernel_image_path": jail::KERNEL,
                    "initrd_path": jail::INITRD,
                    "boot_args": BOOT_ARGUMENTS,
                }),
            ),
            drive("root", jail::ROOT_DRIVE),
        ];
        if self.work_disk {
            puts.push(drive("work", jail::WORK_DRIVE));
        }
        let mac = self.mac.map(|byte| format!("{byte:02x}")).join(":");
        puts.push(Put::new(
            "/network-interfaces/eth0",
            json!({"iface_id": "eth0", "guest_mac": mac, "host_dev_name": self.tap}),
        ));
        let path = format!("{}/{}", jail::SOCKETS, socket::VSOCK);
        puts.push(Put::new(
            "/vsock",
            json!({"guest_cid": self.cid, "uds_path": path}),
        ));
        puts
    }
}

/// `Writeback`: with Firecracker's default a guest's fsync ends in the VMM's
/// page cache and never reaches the disk.
fn drive(id: &str, path: &str) -> Put {
    Put::new(
        &format!("/drives/{id}"),
        json!({
            "drive_id": id,
            "path_on_host": path,
            "is_root_device": false,
            "is_read_only": false,
            "cache_type": "Writeback",
        }),
    )
}
