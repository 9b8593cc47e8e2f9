//! Kernels, modules and disks made for tests.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

/// An ELF64 for x86-64 with one program header, `length` bytes of no pattern
/// that compresses to nothing, and a kernel's banner.
pub(super) fn elf(length: usize, release: Option<&str>) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[16] = 2;
    bytes[18] = 62;
    bytes[32] = 64;
    bytes[54] = 56;
    bytes[56] = 1;
    bytes[64] = 1;
    let mut state = 1_u32;
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend([(state >> 24) as u8 & 0x3f, 0, 0xe8]);
    }
    if let Some(release) = release {
        bytes.extend(format!("Linux version {release} (x@y) #1 SMP\n\0").bytes());
    }
    bytes
}

/// A bzImage of boot protocol 2.15 around a payload.
pub(super) fn bzimage(payload: &[u8], setup_sectors: u8, version: &str) -> Vec<u8> {
    let sectors = if setup_sectors == 0 { 4 } else { setup_sectors };
    let start = (usize::from(sectors) + 1) * 512;
    let mut image = vec![0; start + 0x40];
    image[0x1f1] = setup_sectors;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&[15, 2]);
    if !version.is_empty() {
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
    }
    image[0x248..0x24c].copy_from_slice(&0x40_u32.to_le_bytes());
    let length = u32::try_from(payload.len()).unwrap();
    image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
    image.extend(payload);
    image.extend([0; 64]);
    image
}

/// A module of a kernel.
pub(super) fn module(name: &str, release: &str) -> Vec<u8> {
    format!("\x7fELF {name}\0vermagic={release} SMP preempt\0").into_bytes()
}

/// A modules directory as Debian's cloud kernel has it, ext4 built in.
pub(super) fn modules_tree(directory: &Path, release: &str) {
    let lines = [
        ("drivers/virtio/virtio", ""),
        ("drivers/virtio/virtio_ring", ""),
        (
            "drivers/virtio/virtio_mmio",
            "drivers/virtio/virtio drivers/virtio/virtio_ring",
        ),
        (
            "drivers/block/virtio_blk",
            "drivers/virtio/virtio drivers/virtio/virtio_ring",
        ),
        ("net/core/failover", ""),
        ("drivers/net/net_failover", "net/core/failover"),
        (
            "drivers/net/virtio_net",
            "drivers/net/net_failover net/core/failover drivers/virtio/virtio drivers/virtio/virtio_ring",
        ),
        ("net/vmw_vsock/vsock", ""),
        (
            "net/vmw_vsock/vmw_vsock_virtio_transport_common",
            "drivers/virtio/virtio drivers/virtio/virtio_ring net/vmw_vsock/vsock",
        ),
        (
            "net/vmw_vsock/vmw_vsock_virtio_transport",
            "net/vmw_vsock/vmw_vsock_virtio_transport_common drivers/virtio/virtio drivers/virtio/virtio_ring net/vmw_vsock/vsock",
        ),
    ];
    let path = |short: &str| format!("kernel/{short}.ko");
    let mut dep = String::new();
    for (short, needs) in lines {
        let file = directory.join(path(short));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, module(short, release)).unwrap();
        let needs: Vec<String> = needs.split_whitespace().map(path).collect();
        dep.push_str(&format!("{}: {}\n", path(short), needs.join(" ")));
    }
    fs::write(directory.join("modules.dep"), dep).unwrap();
    fs::write(
        directory.join("modules.builtin"),
        "kernel/fs/ext4/ext4.ko\n",
    )
    .unwrap();
}

/// The first 128 KiB of an ext4 file system of that many 4 KiB blocks.
pub(super) fn ext4(blocks: u32) -> Vec<u8> {
    let mut bytes = vec![0; 128 << 10];
    bytes[0x404..0x408].copy_from_slice(&blocks.to_le_bytes());
    bytes[0x418..0x41c].copy_from_slice(&2_u32.to_le_bytes());
    bytes[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
    bytes
}
