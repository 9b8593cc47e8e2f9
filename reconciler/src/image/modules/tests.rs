#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::Write;
use std::path::Path;

use super::{Module, ModulesError, collect};
use crate::image::Kernel;
use crate::image::testing::{elf, module, modules_tree};

const RELEASE: &str = "6.1.0-56-cloud-amd64";

fn kernel() -> Kernel {
    Kernel::from_file(elf(1_000, Some(RELEASE))).unwrap()
}

fn names(modules: &[Module]) -> Vec<&str> {
    modules
        .iter()
        .map(|module| module.file_name.as_str())
        .collect()
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn what_a_module_needs_is_loaded_first_and_once() {
    let tree = tempfile::tempdir().unwrap();
    modules_tree(tree.path(), RELEASE);
    let found = collect(&kernel(), Some(tree.path())).unwrap();
    assert_eq!(
        names(&found),
        [
            "virtio_ring.ko",
            "virtio.ko",
            "virtio_mmio.ko",
            "virtio_blk.ko",
            "failover.ko",
            "net_failover.ko",
            "virtio_net.ko",
            "vsock.ko",
            "vmw_vsock_virtio_transport_common.ko",
            "vmw_vsock_virtio_transport.ko"
        ]
    );
    assert_eq!(
        found[0].bytes,
        module("drivers/virtio/virtio_ring", RELEASE)
    );
}

#[test]
fn compressed_modules_are_unpacked() {
    let tree = tempfile::tempdir().unwrap();
    modules_tree(tree.path(), RELEASE);
    let plain = collect(&kernel(), Some(tree.path())).unwrap();
    let dep = tree.path().join("modules.dep");
    for (short, suffix) in [
        ("virtio_mmio", "gz"),
        ("virtio_blk", "xz"),
        ("vsock", "zst"),
    ] {
        replace(
            &dep,
            &format!("{short}.ko"),
            &format!("{short}.ko.{suffix}"),
        );
        let file = walk(tree.path(), &format!("{short}.ko"));
        let bytes = fs::read(&file).unwrap();
        let packed = match suffix {
            "gz" => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                writer.write_all(&bytes).unwrap();
                writer.finish().unwrap()
            }
            "xz" => {
                let options = lzma_rust2::XzOptions::with_preset(6);
                let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
                writer.write_all(&bytes).unwrap();
                writer.finish().unwrap()
            }
            _ => ruzstd::encoding::compress_to_vec(
                &bytes[..],
                ruzstd::encoding::CompressionLevel::Fastest,
            ),
        };
        fs::remove_file(&file).unwrap();
        fs::write(file.with_extension(format!("ko.{suffix}")), packed).unwrap();
    }
    assert_eq!(collect(&kernel(), Some(tree.path())).unwrap(), plain);
}

fn walk(directory: &Path, name: &str) -> std::path::PathBuf {
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            if entry.file_name() == name {
                return entry.path();
            }
            if entry.path().is_dir() {
                left.push(entry.path());
            }
        }
    }
    panic!("{name} is not there");
}

#[test]
fn a_modular_ext4_brings_its_checksum() {
    let tree = tempfile::tempdir().unwrap();
    modules_tree(tree.path(), RELEASE);
    fs::remove_file(tree.path().join("modules.builtin")).unwrap();
    let dep = tree.path().join("modules.dep");
    let mut text = fs::read_to_string(&dep).unwrap();
    text.push_str("kernel/ext4.ko: kernel/jbd2.ko kernel/mbcache.ko\nkernel/jbd2.ko:\n");
    text.push_str("kernel/mbcache.ko:\nkernel/crc32c_generic.ko:\n");
    fs::write(&dep, text).unwrap();
    for name in ["ext4", "jbd2", "mbcache", "crc32c_generic"] {
        let file = tree.path().join(format!("kernel/{name}.ko"));
        fs::write(file, module(name, RELEASE)).unwrap();
    }
    let found = collect(&kernel(), Some(tree.path())).unwrap();
    assert_eq!(
        names(&found)[10..],
        ["crc32c_generic.ko", "mbcache.ko", "jbd2.ko", "ext4.ko"]
    );
}

#[test]
fn what_is_missing_is_named() {
    let tree = tempfile::tempdir().unwrap();
    modules_tree(tree.path(), RELEASE);
    let dep = tree.path().join("modules.dep");
    replace(
        &dep,
        "kernel/drivers/block/virtio_blk.ko:",
        "kernel/other.ko:",
    );
    let error = collect(&kernel(), Some(tree.path())).unwrap_err();
    assert!(
        matches!(&error, ModulesError::Missing { name, .. } if name == "virtio_blk"),
        "{error}"
    );

    fs::remove_file(&dep).unwrap();
    let error = collect(&kernel(), Some(tree.path())).unwrap_err();
    assert!(error.to_string().contains("modules.dep"), "{error}");

    let nowhere = tree.path().join("nowhere");
    let error = collect(&kernel(), Some(&nowhere)).unwrap_err();
    assert!(matches!(
        error,
        ModulesError::NoDirectory {
            missing: "virtio-mmio",
            ..
        }
    ));
}

#[test]
fn modules_of_another_kernel_are_refused() {
    let tree = tempfile::tempdir().unwrap();
    modules_tree(tree.path(), "6.1.0-55-cloud-amd64");
    let error = collect(&kernel(), Some(tree.path())).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("6.1.0-55-cloud-amd64, not 6.1.0-56-cloud-amd64"),
        "{text}"
    );
}

#[test]
fn a_kernel_with_everything_built_in_needs_no_directory() {
    let mut bytes = elf(1_000, None);
    bytes.extend(b"virtio-mmio\0virtio_blk\0virtio_net\0vmw_vsock_virtio_transport\0");
    let without = Kernel::from_file(bytes.clone()).unwrap();
    let error = collect(&without, None).unwrap_err();
    assert!(matches!(
        error,
        ModulesError::UnknownRelease { missing: "ext4" }
    ));
    bytes.extend(b"ext4\0");
    let with = Kernel::from_file(bytes).unwrap();
    assert_eq!(collect(&with, None).unwrap(), []);
}
