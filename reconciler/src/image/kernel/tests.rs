#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{Cursor, Write};

use proptest::prelude::*;

use super::{Kernel, KernelError};
use crate::image::testing::{bzimage, elf};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn appended(mut stream: Vec<u8>, size: usize) -> Vec<u8> {
    stream.extend(u32::try_from(size).unwrap().to_le_bytes());
    stream
}

/// As `lz4 -l` writes it: blocks of 8 MiB, each with its length in front.
fn lz4_legacy(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x02, 0x21, 0x4c, 0x18];
    for block in bytes.chunks(8 << 20) {
        let packed = lz4_flex::block::compress(block);
        stream.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        stream.extend(packed);
    }
    appended(stream, bytes.len())
}

/// As the kernel's build calls xz: with the x86 filter.
fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut options = lzma_rust2::XzOptions::with_preset(1);
    options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
    options.prepend_pre_filter(lzma_rust2::FilterType::BcjX86, 0);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(bytes).unwrap();
    appended(writer.finish().unwrap(), bytes.len())
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let packed = ruzstd::encoding::compress_to_vec(
        Cursor::new(bytes),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    appended(packed, bytes.len())
}

#[test]
fn every_compression_gives_the_elf_back() {
    // Longer than a block of LZ4 legacy.
    let kernel = elf(9 << 20, Some("6.1.0-banger"));
    for (name, payload) in [
        ("none", kernel.clone()),
        ("gzip", gzip(&kernel)),
        ("lz4", lz4_legacy(&kernel)),
        ("xz", xz(&kernel)),
        ("zstd", zstd(&kernel)),
    ] {
        for setup_sectors in [0, 4, 31] {
            let image = bzimage(&payload, setup_sectors, "6.1.0-header (x@y) #1 SMP");
            let found =
                Kernel::from_file(image).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert!(found.vmlinux == kernel, "{name}");
            assert_eq!(found.release.as_deref(), Some("6.1.0-header"), "{name}");
        }
    }
}

#[test]
fn an_elf_passes_through_and_tells_its_release() {
    let kernel = elf(100_000, Some("5.10.225"));
    let found = Kernel::from_file(kernel.clone()).unwrap();
    assert_eq!(found.vmlinux, kernel);
    assert_eq!(found.release.as_deref(), Some("5.10.225"));
    assert_eq!(Kernel::from_file(elf(1_000, None)).unwrap().release, None);
}

#[test]
fn a_driver_is_found_by_its_whole_name() {
    let mut kernel = elf(1_000, None);
    kernel.extend(b"xvirtio_blk\0virtio_net_failover\0");
    let kernel = Kernel::from_file(kernel).unwrap();
    assert!(kernel.has_driver("virtio_blk"));
    assert!(!kernel.has_driver("virtio_net"));
}

fn refusal(bytes: Vec<u8>) -> String {
    Kernel::from_file(bytes).unwrap_err().to_string()
}

#[test]
fn everything_else_is_refused_by_name() {
    let mut object = elf(1_000, None);
    object[16] = 1;
    let mut arm = elf(1_000, None);
    arm[18] = 183;
    let mut program = elf(1_000, None);
    program[64] = 3;
    for (bytes, name) in [
        (Vec::new(), "an empty file"),
        (gzip(b"x"), "a gzip file"),
        (b"#!/bin/sh\n".to_vec(), "a script"),
        (b"\xfd7zXZ\0".to_vec(), "an xz file"),
        (b"070701".to_vec(), "a cpio archive"),
        (b"MZ\x90\0".to_vec(), "an EFI program"),
        (b"hello\n".to_vec(), "a text file"),
        (vec![0; 4096], "nothing known"),
        (object, "an object file or kernel module"),
        (arm, "an ELF file for another processor"),
        (program, "an ordinary program"),
        (b"\x7fELF".to_vec(), "a cut-off ELF file"),
        (bzimage(&gzip(b"not an ELF"), 4, ""), "a text file"),
    ] {
        let text = refusal(bytes);
        assert!(text.contains(name), "{text:?} should say {name:?}");
    }
    assert!(refusal(bzimage(b"\x89LZO....", 4, "")).contains("lzo"));
    assert!(refusal(bzimage(b"BZh91AY", 4, "")).contains("bzip2"));
}

#[test]
fn a_damaged_bzimage_is_refused() {
    let kernel = elf(100_000, None);
    let whole = bzimage(&zstd(&kernel), 4, "");
    assert!(matches!(
        Kernel::from_file(whole[..whole.len() - 100].to_vec()),
        Err(KernelError::CutOff { .. })
    ));
    let mut short = zstd(&kernel);
    let at = short.len() - 4;
    short[at..].copy_from_slice(&99_999_u32.to_le_bytes());
    assert!(matches!(
        Kernel::from_file(bzimage(&short, 4, "")),
        Err(KernelError::WrongLength { .. })
    ));
    short[at..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        Kernel::from_file(bzimage(&short, 4, "")),
        Err(KernelError::TooLarge { .. })
    ));
    let mut torn = lz4_legacy(&kernel);
    torn[6] ^= 0xff;
    assert!(Kernel::from_file(bzimage(&torn, 4, "")).is_err());
    let mut old = whole;
    old[0x206..0x208].copy_from_slice(&[7, 2]);
    assert!(matches!(
        Kernel::from_file(old),
        Err(KernelError::TooOld { major: 2, minor: 7 })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = Kernel::from_file(bytes);
    }

    #[test]
    fn arbitrary_payloads_never_panic(
        magic in prop_oneof![
            Just(vec![0x1f, 0x8b, 0x08]),
            Just(vec![0x02, 0x21, 0x4c, 0x18]),
            Just(b"\xfd7zXZ\0".to_vec()),
            Just(vec![0x28, 0xb5, 0x2f, 0xfd]),
            Just(b"\x7fELF\x02\x01".to_vec()),
        ],
        rest in proptest::collection::vec(any::<u8>(), 0..512),
        sectors in any::<u8>(),
    ) {
        let payload: Vec<u8> = magic.into_iter().chain(rest).collect();
        let _ = Kernel::from_file(bzimage(&payload, sectors, ""));
    }

    #[test]
    fn flipped_bytes_never_panic(flips in proptest::collection::vec((0_usize..20_000, any::<u8>()), 1..8), which in 0..4) {
        let kernel = elf(20_000, Some("1.2"));
        let payload = match which {
            0 => gzip(&kernel),
            1 => lz4_legacy(&kernel),
            2 => xz(&kernel),
            _ => zstd(&kernel),
        };
        let mut image = bzimage(&payload, 1, "1.2");
        for (at, with) in flips {
            let at = at % image.len();
            image[at] ^= with;
        }
        let _ = Kernel::from_file(image);
    }
}
