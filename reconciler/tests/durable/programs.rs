//! `banger` and `bangerd`, each under strace, in a home of their own.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::rules::Verdict;
use crate::{judge, strace};

/// Where strace, mkfs.ext4 and ssh-keygen are.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

const DOCUMENTS: &str = "apiVersion: banger.dev/v1alpha1
kind: Image
metadata: {name: debian}
spec: {rootfs: {disk: {path: /srv/debian.ext4}}}
---
apiVersion: banger.dev/v1alpha1
kind: VirtualMachine
metadata: {name: web}
spec: {image: debian}
";

/// The directories. Those of documents are for `banger apply` to make.
pub(crate) struct Site {
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // As descriptors have it.
        let root = dir.path().canonicalize().unwrap();
        for name in ["home", "state", "work"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        Self { root, _dir: dir }
    }

    pub(crate) fn at(&self, below: &str) -> String {
        self.root.join(below).to_str().unwrap().to_owned()
    }

    /// A file of documents to apply.
    pub(crate) fn documents(&self) -> String {
        let path = self.at("work/documents.yaml");
        fs::write(&path, DOCUMENTS).unwrap();
        path
    }

    fn traced(&self, what: &str, program: &str) -> (PathBuf, Command) {
        let trace = self.root.join("work").join(what);
        let mut command = strace::under(&trace, program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", self.at("home"))
            .env("LC_ALL", "C.UTF-8")
            .env("BANGER_SOCKET", self.at("work/sock"))
            .current_dir(self.root.join("work"));
        (trace, command)
    }

    /// Runs `banger`, which must succeed.
    pub(crate) fn banger(&self, what: &str, arguments: &[&str]) -> Verdict {
        let (trace, mut command) = self.traced(what, env!("CARGO_BIN_EXE_banger"));
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "banger {what}: {said}");
        judge(&trace, &self.root)
    }

    /// Starts the daemon; it serves when this returns.
    pub(crate) fn daemon(&self) -> Daemon {
        let systemd = UnixDatagram::bind(self.at("work/notify")).unwrap();
        let patience = Some(Duration::from_secs(120));
        systemd.set_read_timeout(patience).unwrap();
        let (trace, mut command) = self.traced("bangerd", env!("CARGO_BIN_EXE_bangerd"));
        let strace = command
            .arg("--sim")
            .args(["--state-dir", &self.at("state")])
            .args(["--config-dir", &self.at("home/.config/banger")])
            .args(["--socket", &self.at("work/sock")])
            .env("NOTIFY_SOCKET", self.at("work/notify"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Daemon {
            strace,
            lock: self.root.join("state/bangerd.lock"),
            trace,
            root: self.root.clone(),
        };
        systemd.recv(&mut [0; 64]).unwrap();
        daemon
    }
}

/// A daemon that runs, until it is dropped.
pub(crate) struct Daemon {
    /// It goes with what it traces.
    strace: Child,
    /// The daemon's pid stands in there.
    lock: PathBuf,
    trace: PathBuf,
    root: PathBuf,
}

impl Daemon {
    /// Ends it as systemd does.
    pub(crate) fn end(mut self) -> Verdict {
        assert!(self.signal(Signal::TERM));
        assert!(self.strace.wait().unwrap().success());
        judge(&self.trace, &self.root)
    }

    fn signal(&self, signal: Signal) -> bool {
        let pid = pid(&self.lock);
        pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.strace.try_wait() {
            self.signal(Signal::KILL);
            let _ = self.strace.wait();
        }
    }
}

fn pid(lock: &Path) -> Option<Pid> {
    let text = fs::read_to_string(lock).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}
