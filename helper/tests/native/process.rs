//! Which process of a unit is the VMM.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use banger_helper::Host;
use banger_helper::op::vmm;
use banger_protocol::VmUid;
use banger_protocol::inventory::Executable;

use crate::bench::{Bench, native};

/// The VMM's, whatever its program is called.
const VMM: u32 = 50_003;

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program of this name that runs as this uid until it is ended.
fn run(bench: &Bench, name: &str, uid: u32) -> Running {
    let program = bench.dir().join(name);
    if !program.exists() {
        fs::copy("/bin/sleep", &program).unwrap();
    }
    let mut command = Command::new(&program);
    command.arg("600").uid(uid).gid(uid);
    loop {
        match command.spawn() {
            // A child that another test has just forked still has it open.
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            child => break Running(child.unwrap()),
        }
    }
}

/// The unit's cgroup with these processes.
fn fill(bench: &Bench, uid: VmUid, processes: &[&Running]) {
    let group: PathBuf = bench.cgroups().join(vmm::SLICE).join(uid.unit());
    fs::create_dir_all(&group).unwrap();
    let pids: String = processes
        .iter()
        .map(|it| format!("{}\n", it.0.id()))
        .collect();
    fs::write(group.join("cgroup.procs"), pids).unwrap();
}

#[test]
fn a_vmm_cannot_hide_by_what_it_is_called() {
    native(
        "a_vmm_cannot_hide_by_what_it_is_called",
        &["/bin/sleep"],
        |bench| {
            let uid = bench.uid();
            let mut host = Host::new(bench.install.clone());
            host.cgroups = bench.cgroups();
            let found = |processes: &[&Running]| {
                fill(bench, uid, processes);
                let process = vmm::process(&host, uid).unwrap();
                process.map(|process| process.pid)
            };
            assert_eq!(found(&[]), None);
            let vmm = run(bench, "firecracker", VMM);
            assert_eq!(found(&[&vmm]), Some(vmm.0.id()));
            // It renames its own program, which is in a directory of its own.
            let from = bench.dir().join("firecracker");
            fs::rename(from, bench.dir().join("x")).unwrap();
            let exe = fs::read_link(format!("/proc/{}/exe", vmm.0.id())).unwrap();
            assert_eq!(exe.file_name(), Path::new("x").file_name());
            assert_eq!(found(&[&vmm]), Some(vmm.0.id()));
            // What it starts is not taken for it.
            let child = run(bench, "firecracker", VMM);
            assert_eq!(found(&[&child, &vmm]), Some(vmm.0.id()));

            // Before it has its uid, it is root's; and so is what follows it.
            let jailer = run(bench, "jailer", 0);
            assert_eq!(found(&[&jailer]), Some(jailer.0.id()));
            let after = run(bench, "sh", 0);
            assert_eq!(found(&[&after]), None);
            assert_eq!(found(&[&after, &vmm]), Some(vmm.0.id()));
            drop(vmm);
            drop(child);
            assert_eq!(found(&[&after]), None);
        },
    );
}

#[test]
fn a_program_that_root_did_not_put_there_is_told() {
    native(
        "a_program_that_root_did_not_put_there_is_told",
        &["/bin/sleep"],
        |bench| {
            let uid = bench.uid();
            let mut host = Host::new(bench.install.clone());
            host.cgroups = bench.cgroups();
            let whose = |vmm: &Running| {
                fill(bench, uid, &[vmm]);
                vmm::executable(vmm::process(&host, uid).unwrap().unwrap())
            };
            let vmm = run(bench, "firecracker", VMM);
            assert_eq!(whose(&vmm).unwrap(), Executable::Installed);
            // Called otherwise, or removed, it is what it was.
            let program = bench.dir().join("firecracker");
            fs::rename(&program, bench.dir().join("x")).unwrap();
            assert_eq!(whose(&vmm).unwrap(), Executable::Installed);
            fs::remove_file(bench.dir().join("x")).unwrap();
            assert_eq!(whose(&vmm).unwrap(), Executable::Installed);

            // Its own file, by whatever name, and root's that others may write to.
            let own = bench.dir().join("firecracker");
            fs::copy("/bin/sleep", &own).unwrap();
            chown(&own, Some(VMM), None).unwrap();
            let other = run(bench, "firecracker", VMM);
            assert_eq!(whose(&other).unwrap(), Executable::Replaced);
            let shared = bench.dir().join("shared");
            fs::copy("/bin/sleep", &shared).unwrap();
            fs::set_permissions(&shared, fs::Permissions::from_mode(0o775)).unwrap();
            let shared = run(bench, "shared", VMM);
            assert_eq!(whose(&shared).unwrap(), Executable::Replaced);

            // A process that has ended has none: that isn't a foreign one.
            fill(bench, uid, &[&vmm]);
            let process = vmm::process(&host, uid).unwrap().unwrap();
            drop(vmm);
            assert!(vmm::executable(process).is_err());
        },
    );
}
