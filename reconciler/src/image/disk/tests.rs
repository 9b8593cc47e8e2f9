#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use proptest::prelude::*;

use super::{check, copy};
use crate::image::ImportError;
use crate::image::source::sha256;
use crate::image::testing::ext4;

fn checked(bytes: &[u8]) -> Result<(), ImportError> {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    check(&file, bytes.len() as u64, Path::new("disk.img"))
}

#[test]
fn a_whole_ext4_passes_and_a_cut_one_does_not() {
    checked(&ext4(32)).unwrap();
    let error = checked(&ext4(33)).unwrap_err();
    assert!(
        matches!(
            error,
            ImportError::CutOff {
                expected: 135_168,
                actual: 131_072,
                ..
            }
        ),
        "{error}"
    );
    // The high half counts only where the feature says so.
    let mut wide = ext4(32);
    wide[0x550] = 1;
    checked(&wide).unwrap();
    wide[0x460] = 0x80;
    assert!(matches!(checked(&wide), Err(ImportError::CutOff { .. })));
}

#[test]
fn what_is_no_ext4_is_named_with_a_remedy() {
    let at = |offset: usize, magic: &[u8]| {
        let mut bytes = vec![0; 128 << 10];
        bytes[offset..offset + magic.len()].copy_from_slice(magic);
        bytes
    };
    for (bytes, name, remedy) in [
        (Vec::new(), "an empty file", "name"),
        (at(0, b"QFI\xfb"), "a qcow2 disk", "qemu-img convert -O raw"),
        (
            at(0, &[0x28, 0xb5, 0x2f, 0xfd]),
            "a zstd file",
            "decompress",
        ),
        (at(257, b"ustar"), "a tar archive", "mkfs.ext4 -d"),
        (at(512, b"EFI PART"), "a disk with partitions", "sfdisk"),
        (
            at(0x10040, b"_BHRfS_M"),
            "a btrfs file system",
            "mkfs.ext4 -d",
        ),
        (vec![0; 128 << 10], "zeros", "mkfs.ext4"),
        (b"hello".to_vec(), "nothing known", "raw image"),
    ] {
        let error = checked(&bytes).unwrap_err();
        assert!(
            error.to_string().contains(name),
            "{error} should say {name}"
        );
        assert!(
            error.remedy().contains(remedy),
            "{} should say {remedy}",
            error.remedy()
        );
    }
}

fn sparse(directory: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let path = directory.join("source");
    let file = File::create(&path).unwrap();
    file.set_len(5 << 20).unwrap();
    file.write_all_at(b"first", 0).unwrap();
    file.write_all_at(&[7; 100_000], (3 << 20) + 17).unwrap();
    // Zeros that the file system stores.
    file.write_all_at(&[0; 300_000], 1 << 20).unwrap();
    file.sync_all().unwrap();
    let content = fs::read(&path).unwrap();
    (path, content)
}

#[test]
fn holes_and_zeros_stay_holes_and_the_hash_is_the_contents() {
    let directory = tempfile::tempdir().unwrap();
    let (from, content) = sparse(directory.path());
    let to = directory.path().join("target");
    let source = File::open(&from).unwrap();
    let target = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&to)
        .unwrap();
    let mut seen = Vec::new();
    let copied = copy((&source, &from), (&target, &to), 0, &mut |done, all| {
        assert_eq!(all, 5 << 20);
        seen.push(done);
    })
    .unwrap();
    assert_eq!(copied.size, 5 << 20);
    assert_eq!(copied.sha256, sha256(&content));
    assert_eq!(fs::read(&to).unwrap(), content);
    target.sync_all().unwrap();
    assert!(fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20);
    assert!(seen.is_sorted());
    assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&(5 << 20))));
}

#[test]
fn a_source_that_changes_meanwhile_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (from, _) = sparse(directory.path());
    let to = directory.path().join("target");
    let source = File::open(&from).unwrap();
    let writer = OpenOptions::new().write(true).open(&from).unwrap();
    let target = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&to)
        .unwrap();
    let shared = rustix::fs::ioctl_ficlone(&target, &source).is_ok();
    let result = copy((&source, &from), (&target, &to), 0, &mut |done, _| {
        if done == 0 {
            writer.set_len(6 << 20).unwrap();
            writer.write_all_at(b"late", 5 << 20).unwrap();
        }
    });
    // A reflink is a point in time.
    assert_eq!(matches!(result, Err(ImportError::Changed { .. })), !shared);
}

proptest! {
    #[test]
    fn arbitrary_superblocks_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() > 0x43a {
            bytes[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
        }
        let _ = checked(&bytes);
    }
}
