//! A cpio archive in the kernel's "newc" form
//! (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Guarantees: the same entries make the same bytes. Owner is root, times are
//! zero, inodes are counted.

/// An archive being written.
#[derive(Default)]
pub(super) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    /// A directory, 0755. Parents come first.
    pub(super) fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, (0, 0), &[]);
    }

    /// A character device, 0600.
    pub(super) fn character_device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, 0o020_600, (major, minor), &[]);
    }

    /// A regular file. At most 4 GiB, which its writers are far from.
    pub(super) fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, 0o100_000 | mode, (0, 0), content);
    }

    /// The archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        use std::io::Write;
        let trailer = mode == 0;
        self.entries += u32::from(!trailer);
        let length = |length: usize| u32::try_from(length).expect("entries are far below 4 GiB");
        let fields = [
            self.entries, // inode
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // mtime
            length(content.len()),
            0, // device that holds it
            0,
            device.0,
            device.1,
            length(name.len() + 1),
            0, // checksum, of the other form only
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            write!(self.bytes, "{field:08x}").expect("a Vec takes everything");
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
