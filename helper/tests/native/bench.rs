//! A helper that serves in a network namespace of its own, and its client.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use banger_helper::client::Client;
use banger_helper::op::loopdev;
use banger_helper::{Host, server};
use banger_protocol::{
    DiskRole, Handle, Install, Inventory, OpError, Request, Response, Slot, VmUid,
};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub(crate) const OWNER: u32 = 41_000;

/// One test's surroundings.
pub(crate) struct Bench {
    pub(crate) install: Install,
    pub(crate) socket: PathBuf,
    /// What the helper works on, for who knows what is there.
    pub(crate) host: Arc<Host>,
    dir: TempDir,
    uids: Vec<VmUid>,
}

/// Loops of this test's VMs go, also when the test fails.
impl Drop for Bench {
    fn drop(&mut self) {
        for found in loopdev::tagged().unwrap_or_default() {
            if self.uids.contains(&found.uid) {
                let _ = Command::new("losetup")
                    .arg("-d")
                    .arg(found.device.path())
                    .status();
            }
        }
    }
}

/// Runs a test as root in a fresh network namespace, or says why not.
pub(crate) fn native(name: &'static str, needs: &[&str], test: fn(&mut Bench)) {
    if !rustix::process::geteuid().is_root() {
        return skipped(name, "needs root");
    }
    for path in needs {
        if !Path::new(path).exists() {
            return skipped(name, &format!("{path} is not there"));
        }
    }
    // The namespace is the thread's, and of every thread that it starts.
    let run = thread::spawn(move || {
        if let Err(e) = unshare(CloneFlags::CLONE_NEWNET) {
            return skipped(name, &format!("no network namespace: {e}"));
        }
        let mut bench = Bench::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = std::os::unix::net::UnixListener::bind(&bench.socket).unwrap();
        // Credentials are what is tested, not the socket's mode.
        fs::set_permissions(&bench.socket, PermissionsExt::from_mode(0o777)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = Arc::clone(&bench.host);
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                let stop = async { drop(stopped.await) };
                server::serve(host, listener, stop).await;
            });
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&mut bench)));
        drop(stop);
        server.join().unwrap();
        drop(bench);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
    if let Err(panic) = run.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The line that the test runner counts.
pub(crate) fn skipped(name: &str, reason: &str) {
    eprintln!("SKIPPED {name}: {reason}");
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::create_dir(dir.path().join("cgroups")).unwrap();
        fs::write(dir.path().join("cgroups/cgroup.controllers"), "").unwrap();
        let subnet = "10.213.0.0/24".parse().unwrap();
        let install = Install {
            state_dir: state,
            jail_dir: dir.path().join("jail"),
            bridge: "br-test".into(),
            uid_base: 50_000,
            slots: 100,
            ..Install::of("owner", OWNER, OWNER, subnet)
        };
        let mut host = Host::new(install.clone());
        host.cgroups = dir.path().join("cgroups");
        Self {
            install,
            host: Arc::new(host),
            socket: dir.path().join("helper.sock"),
            dir,
            uids: Vec::new(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What stands for the control groups.
    pub(crate) fn cgroups(&self) -> PathBuf {
        self.dir().join("cgroups")
    }

    /// A VM's uid; its loops are removed at the end.
    pub(crate) fn uid(&mut self) -> VmUid {
        let uid = VmUid::new(uuid::Uuid::now_v7());
        self.uids.push(uid);
        uid
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket).unwrap()
    }

    pub(crate) fn call(&self, request: &Request, files: &[BorrowedFd<'_>]) -> Response {
        self.client().call(request, files).unwrap()
    }

    pub(crate) fn changed(&self, request: &Request, files: &[BorrowedFd<'_>]) -> Handle {
        match self.call(request, files) {
            Response::Changed { handle } => handle,
            other => panic!("{request:?}: {other:?}"),
        }
    }

    pub(crate) fn unchanged(&self, request: &Request, files: &[BorrowedFd<'_>]) -> Handle {
        match self.call(request, files) {
            Response::Unchanged { handle } => handle,
            other => panic!("{request:?}: {other:?}"),
        }
    }

    pub(crate) fn error(&self, request: &Request, files: &[BorrowedFd<'_>]) -> OpError {
        match self.call(request, files) {
            Response::Error { error } => error,
            other => panic!("{request:?}: {other:?}"),
        }
    }

    pub(crate) fn inventory(&self) -> Inventory {
        match self.call(&Request::Inventory {}, &[]) {
            Response::Inventory { inventory } => *inventory,
            other => panic!("{other:?}"),
        }
    }

    /// A disk of the owner's in the state directory.
    pub(crate) fn disk(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.install.state_dir.join(name);
        File::create(&path).unwrap().set_len(bytes).unwrap();
        chown(&path, Some(OWNER), Some(OWNER)).unwrap();
        path
    }
}

pub(crate) fn open_rw(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

pub(crate) fn slot(n: u16) -> Slot {
    Slot::try_from(n).unwrap()
}

pub(crate) fn loop_of(handle: Handle) -> banger_protocol::LoopNumber {
    match handle {
        Handle::Loop(device) => device,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn ensure_loop(uid: VmUid, role: DiskRole) -> Request {
    Request::EnsureLoop { uid, role }
}

/// Runs a program of the machine's, in this namespace.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// One interface as ip(8) sees it.
pub(crate) fn ip_link(name: &str) -> serde_json::Value {
    let text = run("ip", &["-j", "-d", "link", "show", "dev", name]);
    let mut links: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    links.remove(0)
}

/// Opens an existing tap as Firecracker does.
pub(crate) fn attach(name: &str) -> File {
    nix::ioctl_write_ptr_bad!(
        set_interface,
        nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
        libc::ifreq
    );
    let tap = open_rw(Path::new("/dev/net/tun"));
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: `request` outlives the call.
    unsafe { set_interface(tap.as_raw_fd(), &raw const request) }.unwrap();
    tap
}
