//! An installation below a directory of its own, with a failure at every step.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::super::changes::{Changes, Site};
use super::super::layout::{SERVICES, SOCKETS};
use super::super::owner::Owner;
use super::super::place::Placed;
use super::{Plan, carry_out};
use crate::cli::{Exit, Failure};

/// A host whose systemd is a set of names, and whose step number `fails` fails.
struct Clumsy {
    root: PathBuf,
    changes: Changes,
    steps: usize,
    fails: Option<usize>,
    active: BTreeSet<String>,
    enabled: BTreeSet<String>,
    /// Units that were stopped.
    stopped: usize,
}

impl Clumsy {
    fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            changes: Changes::new(root),
            steps: 0,
            fails: None,
            active: BTreeSet::new(),
            enabled: BTreeSet::new(),
            stopped: 0,
        }
    }

    fn install(&mut self, plan: &Plan, fails: Option<usize>) -> Result<Placed, Failure> {
        (self.steps, self.fails, self.stopped) = (0, fails, 0);
        carry_out(self, plan)
    }

    fn step(&mut self, what: &str) -> Result<(), Failure> {
        self.steps += 1;
        match self.fails {
            Some(fails) if fails == self.steps => {
                Err(Failure::new(Exit::Internal, format!("{what} fails")))
            }
            _ => Ok(()),
        }
    }

    /// Everything that there is, and what runs.
    fn state(&self) -> (BTreeMap<PathBuf, String>, Vec<String>) {
        let mut found = BTreeMap::new();
        look(&self.root, &mut found);
        let units = self.active.iter().map(|it| format!("active {it}"));
        let enabled = self.enabled.iter().map(|it| format!("enabled {it}"));
        (found, units.chain(enabled).collect())
    }
}

fn look(directory: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let what = if metadata.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if metadata.is_dir() {
            look(&path, found);
            format!("directory {:o}", metadata.mode())
        } else {
            // A service that runs has its program open: it is the same file.
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            format!("{} {:o} {text}", metadata.ino(), metadata.mode())
        };
        found.insert(path, what);
    }
}

impl Site for Clumsy {
    fn directory(
        &mut self,
        path: &Path,
        owner: Option<(u32, u32)>,
        mode: u32,
    ) -> Result<(), Failure> {
        assert!(owner.is_some());
        self.changes.directory(path, None, mode)?;
        self.step("a directory")
    }

    fn file(&mut self, path: &Path, content: &[u8], mode: u32) -> Result<Placed, Failure> {
        let placed = self.changes.file(path, content, mode)?;
        self.step("a file").map(|()| placed)
    }

    fn link(&mut self, path: &Path, target: &Path) -> Result<Placed, Failure> {
        let placed = self.changes.link(path, target)?;
        self.step("a link").map(|()| placed)
    }

    fn home(&mut self, _: &Owner, _: &Path, _: bool) -> Result<(), Failure> {
        self.step("the home")
    }

    fn run(&mut self, program: &str, arguments: &[&str]) -> Result<String, Failure> {
        let said = || Err(Failure::new(Exit::Internal, "no"));
        let units = || arguments.iter().filter(|it| it.contains('.'));
        match (program, arguments[0]) {
            ("systemctl", "is-active") if units().any(|it| !self.active.contains(*it)) => said(),
            ("systemctl", "is-enabled") if units().any(|it| !self.enabled.contains(*it)) => said(),
            ("systemctl", "is-active" | "is-enabled" | "reset-failed") => Ok(String::new()),
            ("systemctl", "stop") => {
                self.stopped += units().count();
                self.active.retain(|it| units().all(|unit| unit != it));
                self.step("a stop").map(|()| String::new())
            }
            ("systemctl", "disable") => {
                self.enabled.retain(|it| units().all(|unit| unit != it));
                Ok(String::new())
            }
            ("systemctl", word @ ("start" | "restart" | "enable")) => {
                self.step(word)?;
                let set = match word {
                    "enable" => &mut self.enabled,
                    _ => &mut self.active,
                };
                set.extend(units().map(|it| (*it).to_owned()));
                // As systemd does with `ListenStream=/run/banger/...`.
                fs::create_dir_all(self.root.join("run/banger")).unwrap();
                Ok(String::new())
            }
            ("systemctl", word) => self.step(word).map(|()| String::new()),
            _ => Ok("Firecracker v1.12.1\n".into()),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.changes.exists(path)
    }

    fn remove(&mut self, path: &Path) -> Result<(), Failure> {
        self.changes.remove(path)
    }

    fn go_on(&mut self) -> Result<(), Failure> {
        self.step("an interrupt")
    }

    fn keep(&mut self) {
        self.changes.keep();
    }

    fn take_back(&mut self) -> Vec<Failure> {
        self.changes.take_back()
    }
}

fn plan(version: &str) -> Plan {
    Plan {
        owner: Owner {
            name: "ada".into(),
            uid: 1000,
            gid: 1000,
            home: format!("/home/ada-{version}").into(),
        },
        metadata: format!("version = \"{version}\"\n"),
        programs: ["bangerd", "banger-helper", "firecracker"]
            .map(|name| (name, format!("{name} {version}").into_bytes()))
            .to_vec(),
        link: true,
    }
}

/// A host as distributions have it.
fn host() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for directory in [
        "usr/lib",
        "usr/bin",
        "etc/systemd/system",
        "etc/udev/rules.d",
        "etc/modules-load.d",
        "var/lib",
        "run",
    ] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    root
}

/// Lets every step fail, one after another; each time all is as it was.
fn at_every_step(of: impl Fn() -> (tempfile::TempDir, Clumsy), plan: &Plan) {
    let mut failed = 0;
    loop {
        let (_root, mut host) = of();
        let before = host.state();
        match host.install(plan, Some(failed + 1)) {
            Ok(placed) => {
                assert_eq!(placed, Placed::Changed);
                assert_ne!(host.state(), before);
                assert_eq!(failed, host.steps, "one can fail unnoticed");
                break;
            }
            Err(failure) => {
                let words = "fails; everything is as it was before";
                assert!(failure.message.ends_with(words), "{}", failure.message);
                assert_eq!(host.state(), before, "after {}", failure.message);
            }
        }
        failed += 1;
    }
    assert!(failed > 20, "only {failed} steps can fail");
}

#[test]
fn a_first_installation_that_fails_leaves_nothing() {
    let fresh = || {
        let root = host();
        let host = Clumsy::new(root.path());
        (root, host)
    };
    at_every_step(fresh, &plan("1"));
}

#[test]
fn an_update_that_fails_leaves_what_there_was() {
    let installed = || {
        let root = host();
        let mut host = Clumsy::new(root.path());
        host.install(&plan("1"), None).unwrap();
        // Somebody changed something, and one unit isn't running.
        let state = root.path().join("var/lib/banger");
        fs::set_permissions(state, fs::Permissions::from_mode(0o750)).unwrap();
        host.active.remove(SOCKETS[1]);
        (root, host)
    };
    at_every_step(installed, &plan("2"));
}

#[test]
fn a_second_time_restarts_nothing() {
    let root = host();
    let mut host = Clumsy::new(root.path());
    assert_eq!(host.install(&plan("1"), None).unwrap(), Placed::Changed);
    let state = host.state();
    let units = [SOCKETS[0], SOCKETS[1], SERVICES[0]].map(|it| format!("active {it}"));
    assert!(units.iter().all(|it| state.1.contains(it)), "{state:?}");
    assert_eq!(host.install(&plan("1"), None).unwrap(), Placed::Unchanged);
    assert_eq!((host.state(), host.stopped), (state.clone(), 0));

    // Another one was killed after it had put a program in place.
    let mark = root.path().join("usr/lib/banger/.installing");
    fs::write(&mark, "").unwrap();
    assert_eq!(host.install(&plan("1"), None).unwrap(), Placed::Unchanged);
    assert_eq!((host.stopped, mark.exists()), (2, false));
    assert_eq!(host.state(), state);
    assert_eq!(host.install(&plan("2"), None).unwrap(), Placed::Changed);
    assert_eq!(host.stopped, 2);
    let old: Vec<_> = host.state().0.into_keys().collect();
    assert!(!old.iter().any(|it| it.to_string_lossy().contains("-old")));
}

#[test]
fn what_cannot_be_put_back_is_told() {
    let root = host();
    let mut host = Clumsy::new(root.path());
    host.install(&plan("1"), None).unwrap();
    // A unit's place is taken by a directory, for good.
    let unit = root.path().join("etc/systemd/system/bangerd.service");
    fs::remove_file(&unit).unwrap();
    fs::create_dir(&unit).unwrap();
    fs::write(unit.join("of-somebody"), "").unwrap();
    let before = host.state();
    let failure = host.install(&plan("2"), None).unwrap_err();
    assert!(
        failure
            .message
            .contains("bangerd.service can't be put in order")
    );
    assert!(failure.message.ends_with("everything is as it was before"));
    assert_eq!(host.state(), before);

    let left = [Failure::new(Exit::Internal, "the disk is gone").cause("EIO")];
    let failure = super::taken_back(Failure::new(Exit::Internal, "it failed"), &left);
    assert!(failure.message.contains("not everything"));
    assert_eq!(failure.causes, ["the disk is gone: EIO"]);
}
