#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{ImportRequest, ImportedImage, import, load, remove};
use crate::image::testing::{bzimage, elf, ext4, modules_tree};
use crate::image::{ImportError, SourceFile};

const RELEASE: &str = "6.1.0-56-cloud-amd64";

struct Owner {
    directory: TempDir,
}

impl Owner {
    fn new() -> Self {
        let owner = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::write(owner.path("disk.ext4"), ext4(32)).unwrap();
        let kernel = bzimage(&elf(10_000, None), 4, &format!("{RELEASE} (x@y) #1"));
        fs::write(owner.path("vmlinuz"), kernel).unwrap();
        fs::create_dir(owner.path("modules")).unwrap();
        modules_tree(&owner.path("modules"), RELEASE);
        fs::write(owner.path("agent"), elf(5_000, None)).unwrap();
        owner
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn request(&self) -> ImportRequest {
        ImportRequest {
            disk: SourceFile::at(self.path("disk.ext4")),
            kernel: Some(SourceFile::at(self.path("vmlinuz"))),
            modules: Some(self.path("modules")),
            initrd: None,
            agent: self.path("agent"),
            images: self.path("state/images"),
            keep_free: 0,
        }
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("state/images")) else {
            return Vec::new();
        };
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

fn run(request: &ImportRequest) -> Result<ImportedImage, ImportError> {
    import(request, &mut |_, _| {})
}

/// Only where it is copied: a clone takes no room.
#[test]
fn what_leaves_too_little_is_not_begun() {
    let owner = Owner::new();
    let request = ImportRequest {
        keep_free: 1 << 62,
        ..owner.request()
    };
    match run(&request) {
        Err(error @ ImportError::NoRoom { .. }) => {
            assert!(error.may_pass() && error.remedy().contains("banger trash empty"));
            assert_eq!(owner.names(), [""; 0]);
        }
        Ok(_) => eprintln!("SKIPPED what_leaves_too_little_is_not_begun: files are cloned here"),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn an_import_is_complete_and_repeating_it_changes_nothing() {
    let owner = Owner::new();
    let request = owner.request();
    let mut last = (0, 0);
    let image = import(&request, &mut |done, all| last = (done, all)).unwrap();
    assert_eq!(last, (128 << 10, 128 << 10));
    assert_eq!(image.rootfs_size, 128 << 10);
    assert_eq!(fs::read(&image.rootfs).unwrap(), ext4(32));
    assert_eq!(fs::read(&image.vmlinux).unwrap(), elf(10_000, None));
    assert_eq!(fs::read(&image.initrd).unwrap()[..2], [0x1f, 0x8b]);
    assert_eq!(image.digest.len(), 64);
    assert_eq!(
        image.rootfs,
        request.images.join(&image.digest).join("rootfs.ext4")
    );
    assert_eq!(owner.names(), [image.digest.as_str()]);
    assert_eq!(load(&request.images.join(&image.digest)).unwrap(), image);

    assert_eq!(run(&request).unwrap(), image);
    assert_eq!(owner.names(), [image.digest.as_str()]);

    remove(&request.images, &image.digest).unwrap();
    remove(&request.images, &image.digest).unwrap();
    assert_eq!(owner.names(), [""; 0]);
}

#[test]
fn every_part_counts_in_the_digest() {
    let owner = Owner::new();
    let first = run(&owner.request()).unwrap().digest;
    let mut seen = vec![first];
    let changes: [(&str, Vec<u8>); 3] = [
        ("disk.ext4", ext4(31)),
        (
            "vmlinuz",
            bzimage(&elf(11_000, None), 4, &format!("{RELEASE} (x@y)")),
        ),
        ("agent", elf(6_000, None)),
    ];
    for (name, bytes) in changes {
        fs::write(owner.path(name), bytes).unwrap();
        let digest = run(&owner.request()).unwrap().digest;
        assert!(!seen.contains(&digest), "{name}");
        seen.push(digest);
    }
}

#[test]
fn an_initrd_of_ones_own_is_taken_as_it_is() {
    let owner = Owner::new();
    fs::write(owner.path("initrd"), b"mine").unwrap();
    let mut request = owner.request();
    request.initrd = Some(SourceFile::at(owner.path("initrd")));
    request.modules = None;
    request.agent = "/nonexistent".into();
    let image = run(&request).unwrap();
    assert_eq!(fs::read(image.initrd).unwrap(), b"mine");
}

#[test]
fn a_damaged_image_is_noticed_and_an_import_repairs_it() {
    let owner = Owner::new();
    let request = owner.request();
    let image = run(&request).unwrap();
    let directory = request.images.join(&image.digest);
    fs::set_permissions(&image.vmlinux, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&image.vmlinux, b"short").unwrap();
    let error = load(&directory).unwrap_err();
    assert!(error.to_string().contains("vmlinux has 5 bytes"), "{error}");
    assert_eq!(run(&request).unwrap(), image);
    assert_eq!(fs::read(&image.vmlinux).unwrap(), elf(10_000, None));
    assert_eq!(owner.names(), [image.digest.as_str()]);

    fs::write(directory.join("image.json.new"), br#"{"version": 2}"#).unwrap();
    fs::rename(
        directory.join("image.json.new"),
        directory.join("image.json"),
    )
    .unwrap();
    assert!(matches!(load(&directory), Err(ImportError::Damaged { .. })));
    assert!(matches!(
        load(&owner.path("nowhere")),
        Err(ImportError::Damaged { .. })
    ));
}

#[test]
fn what_a_crashed_import_left_is_swept_and_a_running_one_is_not() {
    let owner = Owner::new();
    let images = owner.path("state/images");
    for name in [".import-crashed", ".import-running", ".remove-half"] {
        fs::create_dir_all(images.join(name)).unwrap();
    }
    let running = fs::File::open(images.join(".import-running")).unwrap();
    running.lock().unwrap();
    let image = run(&owner.request()).unwrap();
    let mut names = owner.names();
    names.sort();
    assert_eq!(names, [".import-running", image.digest.as_str()]);
}

#[test]
fn sha256_is_checked() {
    let owner = Owner::new();
    let mut request = owner.request();
    let right = crate::image::source::sha256(&ext4(32));
    request.disk.sha256 = Some(right.to_uppercase());
    run(&request).unwrap();
    request.disk.sha256 = Some("0".repeat(64));
    let error = run(&request).unwrap_err();
    assert!(
        matches!(&error, ImportError::WrongSha256 { actual, .. } if *actual == right),
        "{error}"
    );
    request.disk.sha256 = Some("abc".into());
    assert!(matches!(run(&request), Err(ImportError::BadSha256 { .. })));
    assert_eq!(owner.names().len(), 1);
}

fn disk_error(owner: &Owner, path: &Path) -> ImportError {
    let mut request = owner.request();
    request.disk = SourceFile::at(path);
    let error = run(&request).unwrap_err();
    assert!(
        error.to_string().contains(&*path.to_string_lossy()),
        "{error}"
    );
    assert!(!error.remedy().is_empty());
    error
}

#[test]
fn a_path_that_is_no_disk_is_named_with_its_cause() {
    let owner = Owner::new();
    let fifo = owner.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket = owner.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let circle = owner.path("circle");
    std::os::unix::fs::symlink("circle", &circle).unwrap();
    fs::write(owner.path("disk.qcow2"), b"QFI\xfb").unwrap();
    assert!(matches!(
        disk_error(&owner, &owner.path("modules")),
        ImportError::NotAFile {
            is: "a directory",
            ..
        }
    ));
    assert!(matches!(
        disk_error(&owner, &fifo),
        ImportError::NotAFile { is: "a FIFO", .. }
    ));
    assert!(matches!(
        disk_error(&owner, &socket),
        ImportError::NotAFile { is: "a socket", .. }
    ));
    assert!(matches!(
        disk_error(&owner, &circle),
        ImportError::Io { .. }
    ));
    assert!(matches!(
        disk_error(&owner, &owner.path("nowhere")),
        ImportError::NotThere { .. }
    ));
    assert!(matches!(
        disk_error(&owner, &owner.path("disk.ext4/below")),
        ImportError::NotThere { .. }
    ));
    let error = disk_error(&owner, &owner.path("disk.qcow2"));
    assert!(error.remedy().contains("qemu-img convert -O raw"));
    assert_eq!(owner.names(), [""; 0]);
}

#[test]
fn a_bad_kernel_or_agent_is_refused_before_the_disk_is_copied() {
    let owner = Owner::new();
    let request = owner.request();
    fs::write(owner.path("agent"), b"#!/bin/sh\n").unwrap();
    assert!(matches!(run(&request), Err(ImportError::NotAnAgent { .. })));
    fs::write(owner.path("vmlinuz"), b"hello\n").unwrap();
    let error = import(&request, &mut |_, _| panic!("the disk is copied")).unwrap_err();
    let step = banger_core::seam::StepError::from(error);
    assert!(!step.retry);
    assert!(
        step.message.ends_with("it looks like a text file"),
        "{}",
        step.message
    );
    assert_eq!(owner.names(), [""; 0]);
}
