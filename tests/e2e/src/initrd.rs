//! The disposable host's boot initrd: busybox, the virtio drivers, `/init`.
//!
//! Debian's own would cost half a minute to make and several seconds of udev
//! to run under software emulation.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context as _, Result};

/// The drivers of the root disk and of the login's network card; what they
/// depend on comes from `modules.dep`.
const DRIVERS: [&str; 3] = ["virtio_pci", "virtio_blk", "virtio_net"];

/// Makes the initrd (an uncompressed cpio) from the host's root file system.
///
/// # Errors
/// A file isn't there, or can't be read.
pub(crate) fn make(root: &Path, kernel_version: &str, init: &str) -> Result<Vec<u8>> {
    let modules = root.join("lib/modules").join(kernel_version);
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let dependencies = String::from_utf8_lossy(&read(&modules.join("modules.dep"))?).into_owned();

    let mut archive = Cpio::default();
    for directory in ["bin", "modules"] {
        archive.directory(directory);
    }
    archive.file("init", 0o755, init.as_bytes());
    archive.file("bin/busybox", 0o755, &read(&root.join("bin/busybox"))?);
    let mut order = String::new();
    for path in load_order(&dependencies, &DRIVERS) {
        let name = path.rsplit('/').next().unwrap_or(&path);
        archive.file(
            &format!("modules/{name}"),
            0o644,
            &read(&modules.join(&path))?,
        );
        order.push_str(name);
        order.push('\n');
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    Ok(archive.finish())
}

/// The module files in the order in which insmod must see them. `modules.dep`
/// (modules.dep(5)) lists each module's dependencies, direct and indirect, the
/// first to be loaded last. A name that isn't listed is built into the kernel.
fn load_order(dependencies: &str, drivers: &[&str]) -> Vec<String> {
    let lines: HashMap<&str, (&str, &str)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(path, needs)| {
            let file = path.rsplit('/').next()?;
            Some((file.strip_suffix(".ko")?, (path, needs)))
        })
        .collect();
    let mut order: Vec<String> = Vec::new();
    for driver in drivers {
        let Some((path, needs)) = lines.get(driver) else {
            continue;
        };
        for module in needs.split_whitespace().rev().chain([*path]) {
            if !order.iter().any(|seen| seen == module) {
                order.push(module.to_owned());
            }
        }
    }
    order
}

/// A cpio archive in the kernel's "newc" form
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    inodes: u32,
}

impl Cpio {
    fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, 0o100_000 | mode, content);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        use std::fmt::Write as _;
        self.inodes += 1;
        let name_size = u32::try_from(name.len() + 1).expect("names here are short");
        let size = u32::try_from(content.len()).expect("a file of an initrd is below 4 GiB");
        let mut header = String::from("070701");
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor
        // rdevminor namesize check
        for field in [
            self.inodes,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ] {
            let _ = write!(header, "{field:08x}");
        }
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES_DEP: &str = "\
kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/legacy.ko kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
";

    #[test]
    fn what_a_driver_needs_is_loaded_first_and_once() {
        let order = load_order(MODULES_DEP, &["virtio_pci", "virtio_blk", "built_in"]);
        let names: Vec<_> = order
            .iter()
            .filter_map(|path| path.rsplit('/').next())
            .collect();
        assert_eq!(
            names,
            [
                "virtio_ring.ko",
                "virtio.ko",
                "legacy.ko",
                "virtio_pci.ko",
                "virtio_blk.ko"
            ]
        );
    }

    #[test]
    fn entries_are_aligned_and_the_archive_ends() {
        let mut archive = Cpio::default();
        archive.file("init", 0o755, b"hello");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"070701"));
        // Header 110 bytes, "init\0" makes 115, padded to 116.
        assert_eq!(&bytes[116..121], b"hello");
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }
}
