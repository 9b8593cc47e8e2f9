#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::cpio::Cpio;
use super::make;
use crate::image::modules::Module;

fn modules() -> Vec<Module> {
    ["virtio_ring.ko", "virtio.ko"]
        .map(|name| Module {
            file_name: name.into(),
            bytes: name.bytes().cycle().take(1_001).collect(),
        })
        .into()
}

fn unpacked(initrd: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    flate2::read::GzDecoder::new(initrd)
        .read_to_end(&mut archive)
        .unwrap();
    archive
}

#[test]
fn the_same_input_makes_the_same_bytes() {
    let first = make(b"the agent", &modules());
    assert_eq!(first, make(b"the agent", &modules()));
    assert_ne!(first, make(b"another agent", &modules()));
    // The time in gzip's header (RFC 1952).
    assert_eq!(first[4..8], [0; 4]);
}

#[test]
fn an_entry_is_as_the_kernel_document_says() {
    let mut archive = Cpio::default();
    archive.file("init", 0o755, b"hello");
    let bytes = archive.finish();
    let header = "070701\
        00000001000081ed000000000000000000000001000000000000000500000000000000000000000000000000\
        0000000500000000";
    assert_eq!(std::str::from_utf8(&bytes[..110]).unwrap(), header);
    // 110 and "init\0" make 115, padded to 116.
    assert_eq!(&bytes[110..124], b"init\0\0hello\0\0\0");
    assert_eq!(bytes.len(), 512);
}

#[test]
fn the_order_lists_the_modules() {
    let archive = unpacked(&make(b"the agent", &modules()));
    let text = String::from_utf8_lossy(&archive);
    assert!(text.contains("virtio_ring.ko\nvirtio.ko\n"));
}

/// What cpio(1) reads is what was written.
#[test]
fn cpio_reads_it_back() {
    let archive = unpacked(&make(b"the agent", &modules()));
    let list = Command::new("cpio")
        .args(["-tv", "--quiet", "--numeric-uid-gid"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut list = match list {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED cpio_reads_it_back: cpio is not installed");
            return;
        }
        other => other.unwrap(),
    };
    list.stdin.take().unwrap().write_all(&archive).unwrap();
    let output = list.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let entries: Vec<(&str, &str)> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[0], words[words.len() - 1])
        })
        .collect();
    assert_eq!(
        entries,
        [
            ("drwxr-xr-x", "dev"),
            ("drwxr-xr-x", "modules"),
            ("drwxr-xr-x", "newroot"),
            ("drwxr-xr-x", "proc"),
            ("drwxr-xr-x", "sys"),
            ("crw-------", "dev/console"),
            ("-rwxr-xr-x", "init"),
            ("-rw-r--r--", "modules/virtio_ring.ko"),
            ("-rw-r--r--", "modules/virtio.ko"),
            ("-rw-r--r--", "modules/order"),
        ]
    );
    assert!(
        text.lines()
            .any(|line| line.contains("5,") && line.contains("dev/console"))
    );
}
