//! The transient service of one VMM (systemd.service(5), systemd.exec(5),
//! systemd.resource-control(5)).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use banger_protocol::install::socket::API;
use banger_protocol::{Install, VmUid};
use zbus::{Fd, Variant};

use super::jail::Places;
use super::{Machine, SLICE, entrance, exit};

const MIB: u64 = 1 << 20;
/// Firecracker's own memory, its page tables, and the jailer's copy of the binary.
const OVERHEAD: u64 = 128 * MIB;
/// Threads: the API's, the device loop's, one per processor; the jailer and the shell before and after.
const TASKS: u64 = 16;
/// Processor time of the device loop, beside the guest's own, in µs per second.
const DEVICE_LOOP: u64 = 500_000;
const SECOND: u64 = 1_000_000;
/// The jailer makes these nodes in its jail, hence the `m`.
const DEVICES: [&str; 4] = [
    "/dev/kvm",
    "/dev/net/tun",
    "/dev/urandom",
    "/dev/userfaultfd",
];
/// What the jailer needs before it becomes the VMM's uid, with the numbers of
/// linux/capability.h. What each is for stands in docs/security.md.
const CAPABILITIES: [(&str, u8); 8] = [
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SYS_CHROOT", 18),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_MKNOD", 27),
];

/// Everything that the unit depends on.
pub(super) struct Service<'a> {
    pub(super) uid: VmUid,
    pub(super) vmm: u32,
    pub(super) machine: Machine,
    /// Our own program.
    pub(super) helper: &'a Path,
    pub(super) places: &'a Places,
    pub(super) exit: &'a Path,
    pub(super) drives: &'a [String],
    pub(super) serial: &'a OwnedFd,
}

impl<'a> Service<'a> {
    /// The properties of StartTransientUnit. systemd follows links, and does all of
    /// this as root, for what runs after the VMM's end as well: no path of theirs
    /// leads through the jail's root, which is the VMM's by then ([`entrance`]).
    pub(super) fn properties(&self, install: &Install) -> Vec<(&'static str, Variant<'a>)> {
        let machine = self.machine;
        let jail = self.exit.parent().unwrap_or(Path::new("/"));
        let writable = vec![text(jail), text(&self.places.sockets)];
        let shell = ["/bin/sh", "-c", exit::SCRIPT].map(str::to_owned);
        let mut post = shell.to_vec();
        post.push(text(self.exit));
        let allow: Vec<(String, String)> = DEVICES
            .iter()
            .map(|device| ((*device).to_owned(), "rwm".to_owned()))
            .chain(
                self.drives
                    .iter()
                    .map(|drive| (drive.clone(), "rw".to_owned())),
            )
            .collect();
        let quota = u64::from(machine.vcpus) * SECOND + DEVICE_LOOP;
        let capabilities = CAPABILITIES
            .iter()
            .fold(0_u64, |set, (_, number)| set | 1 << number);
        vec![
            (
                "Description",
                Variant::from(format!("banger VM {}", self.uid)),
            ),
            // As the host goes down it ends after the daemon, which has guests shut
            // down first. Not `Before=` the daemon itself, whose own restarts would
            // have to wait for starts of VMMs. What is default otherwise would order
            // it after all sockets.
            ("DefaultDependencies", Variant::from(false)),
            ("Conflicts", names(&["shutdown.target"])),
            ("Before", names(&["shutdown.target", "bangerd.socket"])),
            ("After", names(&["sysinit.target"])),
            ("Type", Variant::from("exec")),
            ("Slice", Variant::from(SLICE)),
            ("ExecStart", command(self.entrance(install))),
            ("ExecStopPost", command(post)),
            ("TimeoutStopUSec", Variant::from(10 * SECOND)),
            ("UMask", Variant::from(0o007_u32)),
            ("StandardInput", Variant::from("null")),
            (
                "StandardOutputFileDescriptor",
                Variant::from(Fd::from(self.serial.as_fd())),
            ),
            (
                "StandardErrorFileDescriptor",
                Variant::from(Fd::from(self.serial.as_fd())),
            ),
            (
                "MemoryMax",
                Variant::from(u64::from(machine.memory_mib) * MIB + OVERHEAD),
            ),
            ("CPUQuotaPerSecUSec", Variant::from(quota)),
            ("TasksMax", Variant::from(u64::from(machine.vcpus) + TASKS)),
            // A core file would be the guest's memory.
            ("LimitCORE", Variant::from(0_u64)),
            ("DevicePolicy", Variant::from("closed")),
            ("DeviceAllow", Variant::from(allow)),
            ("CapabilityBoundingSet", Variant::from(capabilities)),
            ("NoNewPrivileges", Variant::from(true)),
            ("ProtectSystem", Variant::from("strict")),
            ("ReadWritePaths", Variant::from(writable)),
            ("ProtectHome", Variant::from("yes")),
            ("CollectMode", Variant::from("inactive")),
        ]
    }

    /// Our own program, which becomes the jailer.
    fn entrance(&self, install: &Install) -> Vec<String> {
        let (sockets, root) = (text(&self.places.sockets), text(&self.places.root));
        let mut argv = [&text(self.helper), entrance::COMMAND, &sockets, &root, "--"]
            .map(str::to_owned)
            .to_vec();
        argv.extend(self.jailer(install));
        argv
    }

    fn jailer(&self, install: &Install) -> Vec<String> {
        let vmm = self.vmm.to_string();
        let base = text(&install.jail_dir);
        [
            text(&install.jailer).as_str(),
            "--id",
            &self.uid.to_string(),
            "--exec-file",
            &text(&install.firecracker),
            "--uid",
            &vmm,
            "--gid",
            &vmm,
            "--chroot-base-dir",
            &base,
            "--cgroup-version",
            "2",
            "--",
            "--api-sock",
            &format!("{}/{API}", banger_protocol::install::jail::SOCKETS),
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// `as`: units.
fn names(units: &[&'static str]) -> Variant<'static> {
    Variant::from(units.to_vec())
}

/// `a(sasb)`: program, argv, whether a failure is ignored.
fn command(argv: Vec<String>) -> Variant<'static> {
    let program = argv.first().cloned().unwrap_or_default();
    Variant::from(vec![(program, argv, false)])
}

/// Install metadata holds UTF-8 paths only; that is checked when it is read.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::install_file::tests::good;

    /// `CAP_` words of a text.
    fn capabilities(text: &str) -> BTreeSet<&str> {
        text.split(|c: char| !c.is_ascii_uppercase() && c != '_')
            .filter(|word| word.starts_with("CAP_"))
            .collect()
    }

    #[test]
    fn the_security_page_says_what_each_capability_is_for() {
        const PAGE: &str = include_str!("../../../../docs/security.md");
        const HELPER: &str = include_str!("../../../../systemd/banger-helper.service");
        let rows = |of: &str| {
            let title = format!("### Capabilities of {of}\n");
            let section = PAGE.split(title.as_str()).nth(1).unwrap();
            let section = section.split("\n#").next().unwrap();
            let row = |line: &'static str| line.strip_prefix("| ")?.split_once(" | ");
            let told = section.lines().filter_map(row);
            let told = told.filter(|(_, what_for)| what_for.len() > 10);
            told.flat_map(|(names, _)| capabilities(names))
                .collect::<BTreeSet<_>>()
        };
        let set = |line: &&str| line.starts_with("CapabilityBoundingSet=");
        let helper = HELPER.lines().find(set).unwrap();
        assert_eq!(rows("the helper"), capabilities(helper));
        let names: BTreeSet<&str> = CAPABILITIES.iter().map(|(name, _)| *name).collect();
        assert_eq!(rows("a VMM's unit"), names);
    }

    #[test]
    fn systemd_is_told_of_no_path_in_a_jail() {
        let log = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let root = "/var/lib/banger-helper/jail/firecracker/x/root";
        let places = Places {
            root: root.into(),
            sockets: "/run/banger/vms/x".into(),
        };
        let service = Service {
            uid: "01920000-0000-7000-8000-000000000001".parse().unwrap(),
            vmm: 50_001,
            machine: Machine {
                slot: 1.try_into().unwrap(),
                memory_mib: 256,
                vcpus: 1,
                work_disk: false,
            },
            helper: Path::new("/usr/lib/banger/banger-helper"),
            places: &places,
            exit: &Path::new(root).with_file_name("exit"),
            drives: &["/dev/dm-1".to_owned()],
            serial: &log,
        };
        let properties = service.properties(&good());
        let told = |name: &str| {
            let property = properties.iter().find(|(it, _)| *it == name);
            format!("{:?}", property.unwrap().1)
        };
        // Only what runs before any process has the VMM's uid.
        assert!(told("ExecStart").contains(root));
        for (name, value) in &properties {
            let value = format!("{value:?}");
            assert!(
                *name == "ExecStart" || !value.contains(root),
                "{name} {value}"
            );
        }
        assert!(told("ExecStopPost").contains("/firecracker/x/exit"));
        assert!(told("ReadWritePaths").contains("/run/banger/vms/x"));
    }
}
