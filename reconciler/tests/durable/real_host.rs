//! What the real host does with files alone: no helper, no privileges.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use banger::act::{RealHost, RealHostOptions};
use banger::guest::known_hosts;
use banger::guest::owner_key::OwnerKey;
use banger::observe::handles::HandleCache;
use banger_core::api::image::{FileSource, RootfsSource};
use banger_core::intent::ImageIntent;
use banger_core::plan::Step;
use banger_core::seam::{Host as _, VmRef};
use banger_protocol::{DiskRole, Install, Sectors, VmUid};
use banger_testkit::generate;

use crate::programs::PATH;
use crate::strace;

const ROOT: &str = "BANGER_DURABLE_ROOT";

/// The VM's.
pub(crate) fn uid() -> VmUid {
    generate::uid(1)
}

/// Why the steps can't be done here.
pub(crate) fn missing() -> Option<String> {
    let found = |program: &str| {
        let mut directories = PATH.split(':');
        directories.any(|directory| Path::new(directory).join(program).exists())
    };
    let programs = ["mkfs.ext4", "ssh-keygen"];
    let program = programs.into_iter().find(|program| !found(program))?;
    Some(format!("there is no {program}"))
}

/// Does them in a process of its own, which is this test's program again.
pub(crate) fn under_strace(root: &Path, trace: &Path) {
    make_directories(root);
    let itself = std::env::current_exe().unwrap();
    let output = strace::under(trace, itself)
        .args(["--exact", "real_host::steps_that_touch_files"])
        .args(["--ignored", "--nocapture", "--test-threads=1"])
        .env_clear()
        .env("PATH", PATH)
        .env(ROOT, root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run under strace by what_the_real_host_puts_in_place_is_durable"]
fn steps_that_touch_files() {
    let own = tempfile::tempdir().unwrap();
    let given = std::env::var_os(ROOT).map(PathBuf::from);
    let root = given.unwrap_or_else(|| {
        make_directories(own.path());
        own.path().to_owned()
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(steps(&root));
}

/// Those that an installation has made.
fn make_directories(root: &Path) {
    for name in ["home", "state", "srv"] {
        fs::create_dir(root.join(name)).unwrap();
    }
}

async fn steps(root: &Path) {
    let home = root.join("home");
    let mut options = RealHostOptions::installed(install(root), home.clone());
    options.helper_socket = root.join("no-helper");
    options.runtime_dir = root.join("run");
    let host = RealHost::new(options);
    let imported = host.import(&image(root), &|_, _| {}).await.unwrap();

    let mut vm = generate::vm(1, generate::spec("debian"));
    vm.image = Some(imported.digest.clone());
    let size = Sectors::from_bytes(64 << 20);
    let role = DiskRole::Work;
    let web = VmRef::Intended(Box::new(vm.clone()));
    for step in [Step::MakeRootDisk { size }, Step::MakeWorkDisk { size }] {
        host.vm_step(&web, &step).await.unwrap();
    }
    let layout = host.layout();
    let handles = HandleCache::default();
    handles.change(layout, vm.uid, |it| it.tap = Some("bgr1".into()));
    let keys = ["ssh-ed25519 AAAA".to_owned()];
    known_hosts::write(&layout.known_hosts(vm.uid), vm.uid, &keys).unwrap();
    OwnerKey::of_home(&home).public().await.unwrap();

    vm.metadata.name = generate::name("shop");
    let shop = VmRef::Intended(Box::new(vm));
    for step in [
        Step::KeepRecord,
        Step::TrashDisk { role },
        Step::MakeWorkDisk { size },
        Step::DropDisks { purge: false },
        Step::RestoreDisks,
        Step::DropDisks { purge: true },
    ] {
        host.vm_step(&shop, &step).await.unwrap();
    }
    host.remove_image(&imported.digest).await.unwrap();
}

fn install(root: &Path) -> Install {
    let subnet = "10.213.0.0/24".parse().unwrap();
    Install {
        state_dir: root.join("state"),
        jail_dir: root.join("jail"),
        bridge: "br-test".into(),
        ..Install::of("owner", 41_000, 41_000, subnet)
    }
}

/// An ext4, what passes for a kernel, and an initrd of one's own.
fn image(root: &Path) -> ImageIntent {
    let srv = root.join("srv");
    let disk = srv.join("disk.ext4");
    File::create(&disk).unwrap().set_len(8 << 20).unwrap();
    let mkfs = Command::new("mkfs.ext4").arg("-q").arg(&disk).status();
    assert!(mkfs.unwrap().success());
    // ELF64, little-endian, executable, x86-64, one header to load (elf(5)).
    let mut kernel = vec![0; 64 + 56];
    kernel[..6].copy_from_slice(b"\x7fELF\x02\x01");
    for (at, byte) in [(16, 2), (18, 62), (32, 64), (54, 56), (56, 1), (64, 1)] {
        kernel[at] = byte;
    }
    fs::write(srv.join("vmlinux"), kernel).unwrap();
    fs::write(srv.join("initrd"), "an initrd").unwrap();
    let source = |name: &str| {
        Some(FileSource {
            path: srv.join(name).to_str().unwrap().to_owned(),
            sha256: None,
        })
    };
    let mut image = generate::image(1, "debian");
    image.spec.rootfs = RootfsSource {
        disk: source("disk.ext4"),
        ..RootfsSource::default()
    };
    image.spec.kernel = source("vmlinux");
    image.spec.initrd = source("initrd");
    image
}
