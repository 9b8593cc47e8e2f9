//! The steps that work on files, each of them repeated.
#![allow(clippy::unwrap_used)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;

use banger_core::api::Quantity;
use banger_core::intent::VmIntent;
use banger_core::plan::Step;
use banger_core::pressure::Room;
use banger_core::seam::{Host as _, VmRef};
use banger_protocol::{DiskRole, Family, Firewall, Install, Obstacle, Sectors, VmUid, Way};
use banger_testkit::generate;
use jiff::Timestamp;
use proptest::prelude::*;

use super::layout::Layout;
use super::root_disk::{self, cow_length};
use super::trash::TrashEntry;
use super::{RealHost, RealHostOptions};
use super::{ballast, network, room, serial_log, trash, trash_list, work_disk};
use crate::guest::known_hosts;

const MIB: u64 = 1 << 20;

struct State {
    _directory: tempfile::TempDir,
    layout: Layout,
}

fn state() -> State {
    let directory = tempfile::tempdir().unwrap();
    State {
        layout: Layout::new(
            directory.path().join("state"),
            directory.path().join("run"),
            directory.path().join("known_hosts"),
        ),
        _directory: directory,
    }
}

fn vm() -> VmIntent {
    generate::vm(1, generate::spec("debian"))
}

fn uid() -> VmUid {
    vm().uid
}

fn mib(n: u64) -> Sectors {
    Sectors::from_bytes(n * MIB)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// The kernel's own accounting (`persistent_prepare_exception`,
/// `persistent_commit_exception`), chunk by chunk.
fn chunks_that_the_kernel_touches(data: u64) -> u64 {
    const PER_AREA: u64 = 256;
    let mut highest = 1; // header 0, metadata of area 0
    let mut next_free = 2;
    for written in 1..=data {
        highest = highest.max(next_free);
        next_free += 1;
        // Metadata chunks are skipped as they come.
        if (next_free - 1) % (PER_AREA + 1) == 0 {
            next_free += 1;
        }
        if written % PER_AREA == 0 {
            let next_area = 1 + (PER_AREA + 1) * (written / PER_AREA);
            highest = highest.max(next_area);
        }
    }
    highest + 1
}

proptest! {
    #[test]
    fn a_store_holds_all_that_can_be_written(sectors in 1_u64..3_000_000) {
        let size = Sectors(sectors);
        let needed = chunks_that_the_kernel_touches(size.bytes().div_ceil(4096)) * 4096;
        let length = cow_length(size);
        prop_assert!(length >= needed, "{length} < {needed}");
        // And little more: it is sparse, but its size is shown to people.
        prop_assert!(length <= needed + 2 * MIB);
    }
}

#[test]
fn a_store_of_a_gibibyte() {
    assert_eq!(cow_length(mib(1024)), 1029 * MIB);
    // A kernel fills this one: helper/tests/host.rs.
    assert_eq!(cow_length(mib(64)), 65 * MIB);
}

#[test]
fn a_root_disk_is_sparse_private_and_keeps_what_it_holds() {
    let state = state();
    root_disk::make(&state.layout, uid(), mib(64)).unwrap();
    let cow = state.layout.cow(uid());
    let found = cow.metadata().unwrap();
    assert_eq!(found.len(), cow_length(mib(64)));
    assert_eq!(found.blocks(), 0);
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let directory = state.layout.vm(uid()).metadata().unwrap();
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);

    let store = OpenOptions::new().write(true).open(&cow).unwrap();
    store.write_all_at(b"SnAp", 0).unwrap();
    root_disk::make(&state.layout, uid(), mib(64)).unwrap();
    root_disk::make(&state.layout, uid(), mib(128)).unwrap();
    root_disk::make(&state.layout, uid(), mib(32)).unwrap();
    assert_eq!(cow.metadata().unwrap().len(), cow_length(mib(128)));
    let mut magic = [0; 4];
    File::open(&cow)
        .unwrap()
        .read_exact_at(&mut magic, 0)
        .unwrap();
    assert_eq!(&magic, b"SnAp");
}

#[test]
fn a_crash_before_the_store_had_its_length_is_made_good() {
    let state = state();
    std::fs::create_dir_all(state.layout.vm(uid())).unwrap();
    File::create(state.layout.cow(uid())).unwrap();
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    let cow = state.layout.cow(uid()).metadata().unwrap();
    assert_eq!(cow.len(), cow_length(mib(8)));
}

#[tokio::test]
async fn a_work_disk_is_an_ext4_that_only_grows() {
    let state = state();
    std::fs::create_dir_all(state.layout.vm(uid())).unwrap();
    // What a crash in the middle of mkfs leaves.
    std::fs::write(state.layout.vm(uid()).join("work.ext4.new"), "half").unwrap();
    work_disk::make(&state.layout, uid(), mib(32))
        .await
        .unwrap();
    let work = state.layout.work(uid());
    let label = Command::new("/usr/sbin/dumpe2fs")
        .arg("-h")
        .arg(&work)
        .output()
        .unwrap();
    let label = String::from_utf8(label.stdout).unwrap();
    assert!(label.contains("Filesystem volume name:   work"), "{label}");
    assert!(label.contains("Block size:               4096"), "{label}");
    let inode = work.metadata().unwrap().ino();
    for (size, is) in [(32, 32), (48, 48), (16, 48)] {
        work_disk::make(&state.layout, uid(), mib(size))
            .await
            .unwrap();
        assert_eq!(work.metadata().unwrap().len(), is * MIB);
    }
    assert_eq!(work.metadata().unwrap().ino(), inode);
    assert!(work.metadata().unwrap().blocks() * 512 < 8 * MIB);
}

fn entries(state: &State) -> Vec<String> {
    let Ok(read) = std::fs::read_dir(state.layout.trash()) else {
        return Vec::new();
    };
    let mut names: Vec<_> = read
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_replaced_disk_goes_to_the_trash_once() {
    let state = state();
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    let intended = VmRef::Intended(Box::new(vm()));
    for _ in 0..2 {
        trash::disk(&state.layout, &intended, DiskRole::Cow, at(0)).unwrap();
    }
    let name = format!("{}-{}-19700101T000000Z", uid(), vm().name());
    assert_eq!(entries(&state), std::slice::from_ref(&name));
    let place = state.layout.trash().join(&name);
    assert!(place.join("root.cow").exists());
    assert!(state.layout.vm(uid()).exists());
    let told: TrashEntry =
        serde_json::from_slice(&std::fs::read(place.join("trash.json")).unwrap()).unwrap();
    assert_eq!(told.vm, Some(vm()));
    assert_eq!(told.disk, Some(DiskRole::Cow));

    // The next one within the same second has a place of its own.
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    trash::disk(&state.layout, &intended, DiskRole::Cow, at(0)).unwrap();
    assert_eq!(entries(&state), [name.clone(), format!("{name}-1")]);
}

#[test]
fn all_of_a_vm_goes_to_the_trash_at_once() {
    let state = state();
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    for (path, text) in [
        (state.layout.work(uid()), "work"),
        (state.layout.serial_log(uid()), "log"),
        (state.layout.handles(uid()), "{}"),
        (state.layout.leaving(uid()), ""),
    ] {
        std::fs::write(path, text).unwrap();
    }
    for _ in 0..2 {
        trash::all(&state.layout, &VmRef::Orphan(uid()), at(60)).unwrap();
    }
    assert!(!state.layout.vm(uid()).exists());
    let name = format!("{}-orphan-19700101T000100Z", uid());
    assert_eq!(entries(&state), std::slice::from_ref(&name));
    let mut kept: Vec<_> = std::fs::read_dir(state.layout.trash().join(name))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["root.cow", "serial.log", "trash.json", "work.ext4"]);
}

#[test]
fn a_purged_vm_leaves_nothing() {
    let state = state();
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    for _ in 0..2 {
        trash::purge(&state.layout, uid()).unwrap();
    }
    assert!(!state.layout.vm(uid()).exists());
    assert!(entries(&state).is_empty());
}

#[test]
fn a_long_serial_log_loses_its_head_under_its_writer() {
    let state = state();
    std::fs::create_dir_all(state.layout.vm(uid())).unwrap();
    let path = state.layout.serial_log(uid());
    let open = || OpenOptions::new().append(true).create(true).open(&path);
    let mut writer = open().unwrap();
    let line = [b'x'; 1024];
    for _ in 0..serial_log::CAP / 1024 {
        writer.write_all(&line).unwrap();
    }
    serial_log::cut(&path).unwrap();
    assert_eq!(path.metadata().unwrap().len(), serial_log::CAP);
    writer.write_all(b"over").unwrap();
    serial_log::cut(&path).unwrap();
    let cut = path.metadata().unwrap().len();
    assert!(cut <= serial_log::KEEP + 8192, "{cut}");
    writer.write_all(b"THE END").unwrap();
    let text = std::fs::read(&path).unwrap();
    assert_eq!(text.len() as u64, cut + 7);
    assert!(text.ends_with(b"THE END"));
    assert!(!text.contains(&0));
}

#[test]
fn the_trash_is_listed_with_what_it_takes() {
    let state = state();
    assert_eq!(trash_list::list(&state.layout).unwrap(), []);
    let intended = VmRef::Intended(Box::new(vm()));
    root_disk::make(&state.layout, uid(), mib(64)).unwrap();
    trash::disk(&state.layout, &intended, DiskRole::Cow, at(60)).unwrap();
    root_disk::make(&state.layout, uid(), mib(64)).unwrap();
    std::fs::write(state.layout.work(uid()), vec![1; MIB as usize]).unwrap();
    trash::all(&state.layout, &intended, at(120)).unwrap();
    // What isn't ours is left out, and an entry without a description isn't.
    std::fs::create_dir(state.layout.trash().join("notes")).unwrap();
    let bare = state.layout.trash().join(format!("{}-x", uid()));
    std::fs::create_dir(&bare).unwrap();
    std::fs::write(bare.join("root.cow"), "x").unwrap();

    let entries = trash_list::list(&state.layout).unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            let known = (entry.vm.is_some(), entry.unread.is_none());
            (entry.disk, known, entry.disks.clone())
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some(DiskRole::Cow), (true, true), vec![DiskRole::Cow]),
            (None, (true, true), vec![DiskRole::Cow, DiskRole::Work]),
            (None, (false, false), vec![DiskRole::Cow]),
        ]
    );
    // Sparse files take what was written of them, not their length.
    assert!(entries[0].taken < MIB, "{}", entries[0].taken);
    assert!((MIB..2 * MIB).contains(&entries[1].taken));
}

/// Else a name would get the disks back that were deleted before.
#[test]
fn what_comes_later_is_newer_though_the_clock_was_set_back() {
    let state = state();
    let intended = VmRef::Intended(Box::new(vm()));
    let mut ids = Vec::new();
    for second in [120, 60, 61] {
        root_disk::make(&state.layout, uid(), mib(8)).unwrap();
        trash::all(&state.layout, &intended, at(second)).unwrap();
        let new = |id: &String| !ids.contains(id);
        ids.push(entries(&state).into_iter().find(new).unwrap());
    }
    let listed = trash_list::list(&state.layout).unwrap();
    let order: Vec<_> = listed.into_iter().map(|entry| entry.id).collect();
    assert_eq!(order, ids);
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    trash::disk(&state.layout, &intended, DiskRole::Cow, at(90)).unwrap();
    let listed = trash_list::list(&state.layout).unwrap();
    assert_eq!(listed.last().unwrap().disk, Some(DiskRole::Cow));
}

/// As one does that is removed for good while the list is read.
#[test]
fn an_entry_that_goes_meanwhile_keeps_the_others_in_the_list() {
    let state = state();
    let intended = VmRef::Intended(Box::new(vm()));
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    trash::all(&state.layout, &intended, at(60)).unwrap();
    let gone = state.layout.trash().join(format!("{}-gone", uid()));
    std::os::unix::fs::symlink("nowhere", gone).unwrap();
    assert_eq!(trash_list::list(&state.layout).unwrap().len(), 1);
}

#[test]
fn disks_come_back_from_the_trash_whole_and_once() {
    let state = state();
    let mut running = vm();
    running.image = Some(banger_core::intent::ImageDigest("a".repeat(64)));
    let intended = VmRef::Intended(Box::new(running));
    // Nothing was ever made of it: nothing is missing.
    trash_list::restore(&state.layout, &intended).unwrap();
    assert!(!state.layout.vm(uid()).exists());

    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    std::fs::write(state.layout.work(uid()), "mine").unwrap();
    trash::all(&state.layout, &intended, at(60)).unwrap();
    // A log of a later attempt is not in the way.
    std::fs::create_dir_all(state.layout.vm(uid())).unwrap();
    std::fs::write(state.layout.serial_log(uid()), "log").unwrap();
    for _ in 0..2 {
        trash_list::restore(&state.layout, &intended).unwrap();
    }
    assert_eq!(std::fs::read(state.layout.work(uid())).unwrap(), b"mine");
    assert!(state.layout.cow(uid()).exists());
    assert!(!state.layout.vm(uid()).join("trash.json").exists());
    assert!(entries(&state).is_empty());

    // Disks that are in their place are never replaced by older ones.
    trash::all(&state.layout, &intended, at(120)).unwrap();
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    trash_list::restore(&state.layout, &intended).unwrap();
    assert!(!state.layout.work(uid()).exists());
    assert_eq!(entries(&state).len(), 1);
}

/// A VM that was started once.
fn ran() -> VmRef {
    let mut ran = vm();
    ran.applied = Some(banger_core::intent::Applied {
        spec: ran.spec.clone(),
        generation: 1,
        image: banger_core::intent::ImageDigest("a".repeat(64)),
        restart_token: 0,
    });
    VmRef::Intended(Box::new(ran))
}

/// What an entry is worth whose description a power cut emptied: its disks are
/// there, and nobody takes them for a VM, nor for nothing.
#[test]
fn an_entry_with_an_empty_description_is_told_and_not_guessed() {
    for whole in [true, false] {
        let state = state();
        root_disk::make(&state.layout, uid(), mib(8)).unwrap();
        if whole {
            trash::all(&state.layout, &ran(), at(60)).unwrap();
        } else {
            trash::disk(&state.layout, &ran(), DiskRole::Cow, at(60)).unwrap();
        }
        let [id] = entries(&state).try_into().unwrap();
        let description = state.layout.trash().join(&id).join("trash.json");
        let text = std::fs::read(&description).unwrap();
        File::create(&description).unwrap();

        let [entry] = trash_list::list(&state.layout).unwrap().try_into().unwrap();
        assert!(entry.unread.unwrap().contains("trash.json"));
        assert_eq!((entry.uid, entry.disks), (uid(), vec![DiskRole::Cow]));
        let error = trash_list::restore(&state.layout, &ran()).unwrap_err();
        assert!(!error.retry && error.message.contains(&id), "{error}");
        assert!(!state.layout.cow(uid()).exists());
        assert_eq!(entries(&state), std::slice::from_ref(&id));

        // Another VM's is as bad; the right one is good again.
        let other = String::from_utf8(text.clone()).unwrap();
        let other = other.replace(&uid().to_string(), &generate::uid(2).to_string());
        std::fs::write(&description, other).unwrap();
        assert!(trash_list::restore(&state.layout, &ran()).is_err());
        std::fs::write(&description, text).unwrap();
        assert_eq!(trash_list::restore(&state.layout, &ran()).is_ok(), whole);
    }
}

/// A mended description must be found without a step in between.
#[test]
fn a_list_with_an_unread_entry_is_not_kept() {
    let state = state();
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    trash::all(&state.layout, &ran(), at(60)).unwrap();
    let [id] = entries(&state).try_into().unwrap();
    let description = state.layout.trash().join(id).join("trash.json");
    let text = std::fs::read(&description).unwrap();
    std::fs::write(&description, "").unwrap();
    let cache = trash_list::TrashCache::default();
    assert!(
        cache.list(&state.layout, false).unwrap()[0]
            .unread
            .is_some()
    );
    std::fs::write(&description, text).unwrap();
    assert!(
        cache.list(&state.layout, false).unwrap()[0]
            .unread
            .is_none()
    );
}

/// A name must not be given to a new VM because the old one's disks can't be seen.
#[test]
fn a_trash_that_is_away_is_not_an_empty_one() {
    let state = state();
    let list = |cache: &trash_list::TrashCache, known| cache.list(&state.layout, known);
    let (cache, other) = <(trash_list::TrashCache, trash_list::TrashCache)>::default();
    assert!(list(&cache, false).unwrap().is_empty());
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    trash::all(&state.layout, &ran(), at(60)).unwrap();
    cache.changed();
    assert_eq!(list(&cache, false).unwrap().len(), 1);
    let (place, away) = (state.layout.trash(), state.layout.vms().join("away"));
    std::fs::rename(&place, &away).unwrap();
    // As seen before, or as the database says.
    for (cache, known) in [(&cache, false), (&other, true), (&other, false)] {
        let error = list(cache, known).unwrap_err();
        assert!(error.message.contains("isn't there"), "{error}");
        assert!(error.remedy.unwrap().contains("mkdir"));
    }
    std::fs::rename(&away, &place).unwrap();
    assert_eq!(list(&cache, false).unwrap().len(), 1);
    assert_eq!(list(&other, true).unwrap().len(), 1);
}

#[test]
fn a_vm_whose_disks_are_nowhere_does_not_get_empty_ones() {
    let state = state();
    let error = trash_list::restore(&state.layout, &ran()).unwrap_err();
    assert!(!error.retry);
    assert!(
        error.message.contains("not in the trash any more"),
        "{error}"
    );
}

/// Its root disk went to the trash by itself, the new one was not made yet, and
/// its document went and came back.
#[test]
fn a_vm_whose_root_disk_was_to_be_replaced_goes_on_without_it() {
    let state = state();
    let VmRef::Intended(mut vm) = ran() else {
        panic!("it has an intent");
    };
    vm.confirmations.push(banger_core::intent::Confirmation {
        disk: DiskRole::Cow,
        change: "spec.rootDisk.size: 6Gi -> 4Gi".into(),
    });
    trash_list::restore(&state.layout, &VmRef::Intended(vm)).unwrap();
}

#[test]
fn only_an_entry_of_the_trash_is_emptied() {
    let state = state();
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    let intended = VmRef::Intended(Box::new(vm()));
    trash::all(&state.layout, &intended, at(60)).unwrap();
    root_disk::make(&state.layout, uid(), mib(8)).unwrap();
    for id in ["..", "../vms", "", ".", "/etc"] {
        assert!(trash_list::empty(&state.layout, id).is_err(), "{id:?}");
    }
    let [id] = entries(&state).try_into().unwrap();
    for _ in 0..2 {
        trash_list::empty(&state.layout, &id).unwrap();
    }
    assert!(entries(&state).is_empty());
    assert!(state.layout.cow(uid()).exists());
}

#[test]
fn the_ballast_takes_its_room_and_gives_it_back() {
    let state = state();
    std::fs::create_dir_all(state.layout.state()).unwrap();
    let size = |mib| Quantity::from_mib(mib);
    let held = || room::read(&state.layout).unwrap().ballast;
    assert_eq!(held(), size(0));
    for mib in [8, 8, 16, 4] {
        ballast::ensure(&state.layout, size(mib)).unwrap();
        assert_eq!(held(), size(mib));
        let file = state.layout.ballast().metadata().unwrap();
        assert_eq!(file.len(), mib * MIB);
        assert!(file.blocks() * 512 >= mib * MIB, "it has holes");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
    // A hole is no ballast: it is filled.
    ballast::release(&state.layout).unwrap();
    File::create(state.layout.ballast())
        .and_then(|file| file.set_len(8 * MIB))
        .unwrap();
    assert_eq!(held(), size(0));
    ballast::ensure(&state.layout, size(8)).unwrap();
    assert_eq!(held(), size(8));
    ballast::release(&state.layout).unwrap();
    ballast::release(&state.layout).unwrap();
    assert_eq!(held(), size(0));
    assert!(!state.layout.ballast().exists());
}

#[test]
fn a_ballast_that_does_not_fit_is_not_tried() {
    let state = state();
    std::fs::create_dir_all(state.layout.state()).unwrap();
    let free = room::read(&state.layout).unwrap().free;
    let too_large = Quantity::from_mib(free.mib() + (64 << 10));
    let error = ballast::ensure(&state.layout, too_large).unwrap_err();
    assert!(error.message.contains("ballast"), "{error}");
    assert!(error.remedy.is_some_and(|it| it.contains("free space")));
    assert!(!state.layout.ballast().exists());
}

#[test]
fn what_will_take_room_is_not_free() {
    let room = Room {
        free: Quantity::from_mib(600),
        ballast: Quantity::from_mib(256),
    };
    let left = room::less(room, 200 * MIB);
    assert_eq!((left.free.mib(), left.ballast.mib()), (400, 256));
    assert_eq!(room::less(room, 601 * MIB).free.mib(), 0);
}

#[test]
fn room_in_a_directory_that_is_not_there_is_an_error() {
    assert!(room::read(&state().layout).is_err());
}

#[test]
fn only_what_guests_send_is_in_their_way() {
    let concerns = |way, family, dns, ipv6| {
        let obstacle = Obstacle {
            firewall: Firewall::Other,
            way,
            family,
            bridge: "br-banger".into(),
            table: "inet filter".into(),
            chain: "input".into(),
            rule: None,
        };
        network::concerns_guests(&obstacle, dns, ipv6)
    };
    assert!(concerns(Way::Out, Family::Ipv4, false, false));
    assert!(concerns(Way::Host, Family::Ipv4, true, false));
    assert!(!concerns(Way::Host, Family::Ipv4, false, true));
    assert!(concerns(Way::Host, Family::Ipv6, false, true));
    assert!(!concerns(Way::Back, Family::Ipv6, true, false));
    assert!(concerns(Way::Guest, Family::Ipv4, false, false));
    assert!(!concerns(Way::Guest, Family::Ipv6, true, false));
}

#[tokio::test]
async fn host_keys_stay_in_the_home_and_go_with_the_vms_disks() {
    let root = tempfile::tempdir().unwrap();
    let install = Install {
        state_dir: root.path().join("state"),
        ..Install::of("owner", 41_000, 41_000, "10.213.0.0/24".parse().unwrap())
    };
    let home = root.path().join("home");
    let mut options = RealHostOptions::installed(install, home.clone());
    options.helper_socket = root.path().join("no-helper");
    let host = RealHost::new(options);
    let pinned = host.layout().known_hosts(uid());
    assert!(pinned.starts_with(home.join(".local/state/banger/known_hosts")));
    for purge in [false, true] {
        let size = mib(64);
        let vm = VmRef::Intended(Box::new(vm()));
        host.vm_step(&vm, &Step::MakeRootDisk { size })
            .await
            .unwrap();
        known_hosts::write(&pinned, uid(), &["ssh-ed25519 AAAA".to_owned()]).unwrap();
        // A crash may have it done twice.
        for _ in 0..2 {
            host.vm_step(&vm, &Step::DropDisks { purge }).await.unwrap();
            assert!(!pinned.exists(), "purge: {purge}");
        }
    }
}
