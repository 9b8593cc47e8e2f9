//! A host of its own for a case: directories, the helper, an owner.
//!
//! ```text
//! root, in a new network namespace --+-- the helper, as root
//!                                    +-- the real host, as the owner
//! ```

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use banger::act::{RealHost, RealHostOptions};
use banger_core::intent::{ImageDigest, VmIntent};
use banger_core::plan::HostStep;
use banger_core::seam::Host as _;
use banger_helper::op::loopdev;
use banger_helper::{Host, server};
use banger_inside::severed::{Again, Cut, Heard, Line, relay};
use banger_protocol::{Install, Sectors, Slot, VmUid};
use banger_testkit::conformance::{Bench, Case, Need, Part};
use banger_testkit::generate;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::machine;

const OWNER: u32 = 41_000;
/// Bytes of the image; a root disk is twice as large.
const IMAGE: u64 = 16 << 20;

/// Tries a case as root in a fresh network namespace, or says why not.
pub(crate) fn native(name: &'static str, case: Case) {
    if is_possible(name, case) {
        try_it(name, case, None).unwrap_or_else(|differs| panic!("{case}: {differs}"));
    }
}

/// Tries a case again and again: the helper is cut off at each of the requests that
/// the case comes to, before it and after it, and the case holds all the same.
pub(crate) fn severed(name: &'static str, case: Case) {
    if !is_possible(name, case) {
        return;
    }
    let line = Line::default();
    let whole = try_it(name, case, Some(line.clone()));
    whole.unwrap_or_else(|differs| panic!("{case}: {differs}"));
    let requests = line.heard();
    assert!(requests.iter().any(|it| it.op != READS), "{requests:?}");
    for (number, Heard { op, .. }) in requests.iter().enumerate() {
        for cut in [Cut::Before, Cut::After] {
            let line = Line::cut_at(number, cut);
            let held = try_it(name, case, Some(line.clone()));
            held.unwrap_or_else(|differs| panic!("{case}, cut {cut:?} {op} ({number}): {differs}"));
            let heard = line.heard();
            let there = heard.get(number).map(|it| &it.op);
            assert_eq!(there, Some(op), "{requests:?}");
        }
    }
    println!(
        "{case}: {} requests, each cut off before and after",
        requests.len()
    );
}

/// The request that every look is.
const READS: &str = "inventory";

fn is_possible(name: &str, case: Case) -> bool {
    let why = match rustix::process::geteuid().is_root() {
        true => case.needs().iter().find_map(|need| machine::lacks(*need)),
        false => Some("needs root".to_owned()),
    };
    why.inspect(|why| skipped(name, why)).is_none()
}

fn try_it(name: &'static str, case: Case, line: Option<Line>) -> Result<(), String> {
    // The namespace is the thread's, and of every thread that it starts.
    let run = thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            skipped(name, &format!("no network namespace: {error}"));
            return Ok(());
        }
        let site = Site::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let helper = site.serve(stopped);
        let held = site.try_as_owner(case, line);
        drop(stop);
        helper.join().unwrap();
        drop(site);
        held
    });
    run.join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The line that the test runner counts.
fn skipped(name: &str, reason: &str) {
    eprintln!("SKIPPED {name}: {reason}");
}

struct Site {
    root: TempDir,
    install: Install,
    bench: Bench,
}

/// A case that failed may leave devices, which outlive the directory.
impl Drop for Site {
    fn drop(&mut self) {
        let uids = self.bench.vms.each_ref().map(|vm| vm.uid);
        if machine::lacks(Need::DeviceMapper).is_none() {
            for name in uids.iter().flat_map(|uid| [uid.dm_root(), uid.dm_origin()]) {
                if Path::new("/dev/mapper").join(&name).exists() {
                    let _ = Command::new("dmsetup").args(["remove", &name]).status();
                }
            }
        }
        for found in loopdev::tagged().unwrap_or_default() {
            if uids.contains(&found.uid) {
                let path = found.device.path();
                let _ = Command::new("losetup").args(["-d", &path]).status();
            }
        }
    }
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let image = ImageDigest("ab".repeat(32));
        let images = at("state/images").join(&image.0);
        fs::create_dir_all(&images).unwrap();
        fs::create_dir_all(at("home")).unwrap();
        // An import takes a kernel. All that the cases need of it is this.
        let rootfs = images.join("rootfs.ext4");
        File::create(&rootfs).unwrap().set_len(IMAGE).unwrap();
        let own = ["state", "state/images", "home"].map(at);
        for path in own.iter().chain([&images, &rootfs]) {
            chown(path, Some(OWNER), Some(OWNER)).unwrap();
        }
        fs::create_dir(at("cgroups")).unwrap();
        fs::write(at("cgroups/cgroup.controllers"), "").unwrap();
        let subnet = "10.213.0.0/24".parse().unwrap();
        let install = Install {
            state_dir: at("state"),
            jail_dir: at("jail"),
            bridge: "br-test".into(),
            uid_base: 50_000,
            slots: 100,
            ..Install::of("owner", OWNER, OWNER, subnet)
        };
        let bench = Bench {
            vms: [1, 2].map(|slot| vm(slot, &install, &image)),
            image,
            size: Sectors::from_bytes(2 * IMAGE),
        };
        Self {
            root,
            install,
            bench,
        }
    }

    fn socket(&self) -> PathBuf {
        self.root.path().join("helper.sock")
    }

    /// The helper, as root, until somebody says `stopped`.
    fn serve(&self, stopped: oneshot::Receiver<()>) -> thread::JoinHandle<()> {
        let listener = std::os::unix::net::UnixListener::bind(self.socket()).unwrap();
        chown(self.socket(), Some(OWNER), Some(OWNER)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut host = Host::new(self.install.clone());
        host.runtime_dir = self.root.path().join("run");
        if machine::lacks(Need::ServiceManager).is_some() {
            // Nobody's units are in there.
            host.cgroups = self.root.path().join("cgroups");
        }
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                let stop = async { drop(stopped.await) };
                server::serve(Arc::new(host), listener, stop).await;
            });
        })
    }

    /// Tries the case in a thread that has become the owner, and all that it
    /// starts with it.
    fn try_as_owner(&self, case: Case, line: Option<Line>) -> Result<(), String> {
        let mut options = RealHostOptions::installed(self.install.clone(), self.at("home"));
        let (helper, relayed) = (self.socket(), self.at("home/relay.sock"));
        options.helper_socket = match line {
            Some(_) => relayed.clone(),
            None => helper.clone(),
        };
        options.runtime_dir = self.at("run");
        let bench = self.bench.clone();
        let run = thread::spawn(move || {
            become_owner();
            if let Some(line) = &line {
                relay(&relayed, &helper, line.clone()).unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let line = line.unwrap_or_default();
                let host = Again {
                    host: RealHost::new(options),
                    line,
                };
                let ipv6 = host.observe(&bench.vms).await.has_ipv6();
                if case.needs().contains(&Need::Taps) && case.1 != Part::Bridge {
                    let bridge = HostStep::EnsureBridge { ipv6 };
                    let made = host.host_step(&bridge).await;
                    made.map_err(|error| format!("no bridge: {error}"))?;
                }
                case.run(&host, &bench).await
            })
        });
        run.join().unwrap()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

/// The raw system calls change one thread; the C library's would change all.
fn become_owner() {
    let none: *const libc::gid_t = std::ptr::null();
    // SAFETY: an empty list of groups is read from nowhere.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setgroups, 0, none) }, 0);
    for call in [libc::SYS_setresgid, libc::SYS_setresuid] {
        // SAFETY: three plain numbers.
        assert_eq!(unsafe { libc::syscall(call, OWNER, OWNER, OWNER) }, 0);
    }
}

/// With a uid that no other run has: loop and dm devices are the machine's.
fn vm(slot: u16, install: &Install, image: &ImageDigest) -> VmIntent {
    let slot = Slot::try_from(slot).unwrap();
    let mut vm = generate::vm(slot.get(), generate::spec("conformance"));
    vm.uid = VmUid::new(uuid::Uuid::now_v7());
    vm.allocation.slot = slot;
    vm.allocation.address = slot.address(install.subnet).unwrap();
    vm.allocation.mac = slot.mac(install.subnet).unwrap();
    vm.image = Some(image.clone());
    vm
}
