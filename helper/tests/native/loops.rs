//! Loop devices.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, chown};

use banger_protocol::inventory::Probe;
use banger_protocol::{DiskRole, Request, Retry};

use crate::bench::{ensure_loop, loop_of, native, open_rw, run};

const NEEDS: [&str; 2] = ["/dev/loop-control", "/sbin/losetup"];
const SIZE: u64 = 4 << 20;

#[test]
fn loops_are_tagged_found_again_and_seen_gone() {
    native(
        "loops_are_tagged_found_again_and_seen_gone",
        &NEEDS,
        |bench| {
            let uid = bench.uid();
            let (base, cow) = (bench.disk("base", SIZE), bench.disk("cow", SIZE));
            let base_file = File::open(&base).unwrap();
            let base_loop =
                loop_of(bench.changed(&ensure_loop(uid, DiskRole::Base), &[base_file.as_fd()]));
            let cow_file = open_rw(&cow);
            let cow_loop =
                loop_of(bench.changed(&ensure_loop(uid, DiskRole::Cow), &[cow_file.as_fd()]));
            assert_ne!(base_loop, cow_loop);
            let again = bench.unchanged(&ensure_loop(uid, DiskRole::Cow), &[cow_file.as_fd()]);
            assert_eq!(loop_of(again), cow_loop);
            let read_only = |n: u32| fs::read_to_string(format!("/sys/block/loop{n}/ro")).unwrap();
            assert_eq!(read_only(base_loop.0).trim(), "1");
            assert_eq!(read_only(cow_loop.0).trim(), "0");

            let Probe::Known(loops) = bench.inventory().loops else {
                panic!("loops are unknown");
            };
            let ours: Vec<_> = loops.iter().filter(|l| l.uid == uid).collect();
            assert_eq!(ours.len(), 2);
            let stat = fs::metadata(&cow).unwrap();
            assert!(ours.iter().any(|l| l.role == DiskRole::Cow
                && l.device == cow_loop
                && (l.backing_device, l.backing_inode) == (stat.dev(), stat.ino())));

            let remove = |role, device| Request::RemoveLoop { uid, role, device };
            let error = bench.error(&remove(DiskRole::Base, cow_loop), &[]);
            assert_eq!((error.step.as_str(), error.retry), ("tag", Retry::Never));
            bench.changed(&remove(DiskRole::Cow, cow_loop), &[]);
            bench.changed(&remove(DiskRole::Base, base_loop), &[]);
            assert!(!run("losetup", &["-a"]).contains(&bench.dir().display().to_string()));
        },
    );
}

#[test]
fn a_device_that_is_open_elsewhere_is_busy_not_gone() {
    native(
        "a_device_that_is_open_elsewhere_is_busy_not_gone",
        &NEEDS,
        |bench| {
            let uid = bench.uid();
            let disk = open_rw(&bench.disk("work", SIZE));
            let device = loop_of(bench.changed(&ensure_loop(uid, DiskRole::Work), &[disk.as_fd()]));
            let holder = File::open(device.path()).unwrap();
            let remove = Request::RemoveLoop {
                uid,
                role: DiskRole::Work,
                device,
            };
            let error = bench.error(&remove, &[]);
            assert_eq!(
                (error.errno, error.retry),
                (Some(nix::libc::EBUSY), Retry::Later)
            );
            drop(holder);
            // The last close let go of it, as the detach had promised.
            bench.unchanged(&remove, &[]);
        },
    );
}

#[test]
fn files_that_are_not_a_disk_of_the_owners_are_refused() {
    native(
        "files_that_are_not_a_disk_of_the_owners_are_refused",
        &NEEDS,
        |bench| {
            let uid = bench.uid();
            let refuse = |what: &str, file: &File, role| {
                let error = bench.error(&ensure_loop(uid, role), &[file.as_fd()]);
                assert_eq!(
                    (error.step.as_str(), error.retry),
                    ("descriptor", Retry::Never),
                    "{what}"
                );
                error.message
            };
            let linked = bench.disk("linked", SIZE);
            fs::hard_link(&linked, bench.dir().join("second-name")).unwrap();
            assert!(refuse("linked", &open_rw(&linked), DiskRole::Cow).contains("2 names"));

            let roots = bench.disk("roots", SIZE);
            chown(&roots, Some(0), None).unwrap();
            assert!(refuse("root's", &open_rw(&roots), DiskRole::Cow).contains("belongs to uid 0"));

            let read_only = File::open(bench.disk("ro", SIZE)).unwrap();
            assert!(refuse("read-only", &read_only, DiskRole::Cow).contains("reading and writing"));

            refuse(
                "a directory",
                &File::open(bench.dir()).unwrap(),
                DiskRole::Base,
            );
            refuse(
                "a device",
                &File::open("/dev/null").unwrap(),
                DiskRole::Base,
            );

            let elsewhere = tempfile::tempfile_in("/dev/shm").unwrap();
            rustix::fs::fchown(
                &elsewhere,
                Some(rustix::fs::Uid::from_raw(crate::bench::OWNER)),
                None,
            )
            .unwrap();
            refuse("another file system", &elsewhere, DiskRole::Base);
        },
    );
}

#[test]
fn a_second_file_under_one_tag_is_refused() {
    native("a_second_file_under_one_tag_is_refused", &NEEDS, |bench| {
        let uid = bench.uid();
        let (one, two) = (
            open_rw(&bench.disk("one", SIZE)),
            open_rw(&bench.disk("two", SIZE)),
        );
        bench.changed(&ensure_loop(uid, DiskRole::Cow), &[one.as_fd()]);
        let error = bench.error(&ensure_loop(uid, DiskRole::Cow), &[two.as_fd()]);
        assert_eq!((error.step.as_str(), error.retry), ("tag", Retry::Never));
    });
}
