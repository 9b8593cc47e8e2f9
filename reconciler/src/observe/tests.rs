#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use banger_core::intent::{Applied, ImageDigest, VmIntent};
use banger_core::observed::{Guest, Instance, Observed, ObservedVm, Presence};
use banger_core::record::VmRecord;
use banger_protocol::inventory::{Dm, DmPart, Executable, Loop, Probe, Process, Tap, TapPool, Vmm};
use banger_protocol::{DiskRole, Inventory, LoopNumber, NetworkPolicy, Sectors, VmUid};
use banger_testkit::generate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::files::{OwnFile, StateFiles, VmFiles};
use super::handles::{HandleCache, Handles, Seen, of_inventory};
use super::process::{Alive, start_time};
use super::{Instances, assemble};
use crate::act::layout::Layout;

const COW: OwnFile = OwnFile {
    length: 4096,
    device: 8,
    inode: 100,
};

fn digest() -> ImageDigest {
    ImageDigest("ab".repeat(32))
}

fn intent() -> VmIntent {
    VmIntent {
        image: Some(digest()),
        ..generate::vm(1, generate::spec("debian"))
    }
}

fn process() -> Process {
    Process {
        pid: 7,
        start_time: 70,
    }
}

fn looped(role: DiskRole, device: u32, inode: u64) -> Loop {
    Loop {
        device: LoopNumber(device),
        uid: intent().uid,
        role,
        backing_device: 8,
        backing_inode: inode,
    }
}

/// A VM that runs, and nothing else.
fn inventory() -> Inventory {
    let uid = intent().uid;
    let dm = |part, name: String, node: &str| Dm {
        uid,
        name,
        part,
        node: node.into(),
        size: Sectors(2048),
        overflow: false,
        loops: BTreeSet::new(),
    };
    Inventory {
        boot_id: "boot".into(),
        vmms: Probe::Known(vec![Vmm {
            uid,
            process: Some(process()),
            executable: Some(Probe::Known(Executable::Installed)),
            exit: None,
            jail: true,
        }]),
        taps: Probe::Known(vec![
            Tap {
                name: "bgr1".into(),
                uid: Some(uid),
                ifindex: 11,
                attached: true,
            },
            Tap {
                name: "foreign".into(),
                uid: None,
                ifindex: 12,
                attached: true,
            },
        ]),
        pool: Some(Probe::Known(TapPool {
            warm: 3,
            ..TapPool::default()
        })),
        loops: Probe::Known(vec![
            looped(DiskRole::Base, 1, 200),
            looped(DiskRole::Cow, 2, 100),
        ]),
        dms: Probe::Known(vec![
            dm(DmPart::Origin, uid.dm_origin(), "/dev/dm-0"),
            dm(DmPart::Root, uid.dm_root(), "/dev/dm-1"),
        ]),
        bridge: Probe::Known(true),
        nat: Probe::Known(None),
        policy: Some(Probe::Known(None)),
        obstacles: Some(Probe::Known(Vec::new())),
        legacy_tables: None,
        ipv6: None,
    }
}

fn state_files() -> StateFiles {
    let files = VmFiles {
        cow: Presence::Present(COW),
        work: Presence::Absent,
        leaving: false,
        record: None,
    };
    let rootfs = OwnFile { inode: 200, ..COW };
    StateFiles {
        vms: Ok(BTreeMap::from([(intent().uid, files)])),
        images: Ok(BTreeMap::from([(digest(), Presence::Present(rootfs))])),
    }
}

fn look(inventory: Result<Inventory, String>, files: &StateFiles, vm: &VmIntent) -> Observed {
    let instances = BTreeMap::from([(vm.uid, Instance::Running)]);
    let vms = std::slice::from_ref(vm);
    assemble("boot".into(), &inventory, files, &instances, vms)
}

#[test]
fn a_running_vm_is_seen_whole() {
    let seen = look(Ok(inventory()), &state_files(), &intent());
    assert_eq!(seen.vms.len(), 1);
    let vm = seen.vm(intent().uid);
    assert_eq!(vm.vmm.present().unwrap().process, process());
    assert_eq!(vm.tap, Presence::Present(11));
    assert_eq!(vm.base_loop, Presence::Present(LoopNumber(1)));
    assert_eq!(vm.cow_loop, Presence::Present(LoopNumber(2)));
    assert_eq!(vm.work_loop, Presence::Absent);
    assert_eq!(vm.origin, Presence::Present(()));
    assert_eq!(vm.root.present().unwrap().node, "/dev/dm-1");
    assert_eq!(vm.cow_file.present().unwrap().length, 4096);
    assert_eq!(vm.first_unknown(), None);
    assert_eq!(seen.bridge, Presence::Present(()));
    assert_eq!(seen.nat, Presence::Absent);
    assert_eq!(seen.images, Presence::Present(BTreeSet::from([digest()])));
    assert_eq!(seen.elsewhere, ObservedVm::absent());
}

/// A section that could not be read is unknown for VMs that are named
/// elsewhere and for VMs that are named nowhere.
#[test]
fn a_failed_section_is_unknown_for_everybody() {
    type Fail = fn(&mut Inventory);
    type Unknown = fn(&ObservedVm) -> bool;
    let sections: [(Fail, Unknown); 4] = [
        (
            |i| i.vmms = Probe::Unknown("x".into()),
            |vm| vm.vmm.unknown().is_some() && vm.jail.unknown().is_some(),
        ),
        (
            |i| i.taps = Probe::Unknown("x".into()),
            |vm| vm.tap.unknown().is_some(),
        ),
        (
            |i| i.loops = Probe::Unknown("x".into()),
            |vm| {
                [&vm.base_loop, &vm.cow_loop, &vm.work_loop]
                    .iter()
                    .all(|l| l.unknown().is_some())
            },
        ),
        (
            |i| i.dms = Probe::Unknown("x".into()),
            |vm| vm.root.unknown().is_some() && vm.origin.unknown().is_some(),
        ),
    ];
    for (fail, unknown) in sections {
        let mut inventory = inventory();
        fail(&mut inventory);
        let seen = look(Ok(inventory), &state_files(), &intent());
        assert!(unknown(seen.vm(intent().uid)));
        assert!(unknown(seen.vm(generate::uid(99))));
    }
}

/// As a helper of minor 0 tells it: what it doesn't know of is no reason to do
/// anything to a VM, and is told with the remedy where it is asked for.
#[test]
fn what_an_older_helper_does_not_tell_changes_nothing_for_vms() {
    let newer = Inventory {
        nat: Probe::Known(Some(BTreeSet::new())),
        policy: Some(Probe::Known(Some(NetworkPolicy::default()))),
        ..inventory()
    };
    let older = Inventory {
        pool: None,
        policy: None,
        obstacles: None,
        ..newer.clone()
    };
    let [whole, seen] = [newer, older].map(|it| look(Ok(it), &state_files(), &intent()));
    assert_eq!(seen.vms, whole.vms);
    assert_eq!((&seen.bridge, &seen.nat), (&whole.bridge, &whole.nat));
    assert_eq!(seen.elsewhere, ObservedVm::absent());
    assert_eq!(
        (&seen.ipv6, &seen.obstacles),
        (&Presence::Absent, &Presence::Absent)
    );
    let why = seen.pool.unknown().unwrap();
    assert!(why.contains("`sudo banger system install`"), "{why}");
}

/// A helper from before the pool is no reason to fill one.
#[test]
fn a_pool_that_an_older_helper_keeps_silent_about_is_unknown() {
    let seen = look(Ok(inventory()), &state_files(), &intent());
    assert_eq!(seen.pool.present().map(|pool| pool.warm), Some(3));
    for silent in [None, Some(Probe::Unknown("x".into()))] {
        let mut inventory = inventory();
        inventory.pool = silent;
        let seen = look(Ok(inventory), &state_files(), &intent());
        assert!(seen.pool.unknown().is_some());
    }
    let seen = look(Err("no helper".into()), &state_files(), &intent());
    assert!(seen.pool.unknown().is_some());
}

#[test]
fn without_a_helper_nothing_is_absent_but_files() {
    let seen = look(Err("no helper".into()), &state_files(), &intent());
    for uid in [intent().uid, generate::uid(99)] {
        let vm = seen.vm(uid);
        assert_eq!(vm.vmm.unknown(), Some("no helper"));
        assert_eq!(vm.first_unknown(), Some("no helper"));
        assert!(vm.cow_file.unknown().is_none());
    }
    assert_eq!(seen.bridge.unknown(), Some("no helper"));
    assert_eq!(seen.nat.unknown(), Some("no helper"));
}

#[test]
fn an_unreadable_state_directory_is_not_an_empty_one() {
    let files = StateFiles {
        vms: Err("EIO".into()),
        images: Err("EIO".into()),
    };
    let seen = look(Ok(inventory()), &files, &intent());
    for uid in [intent().uid, generate::uid(99)] {
        assert_eq!(seen.vm(uid).cow_file.unknown(), Some("EIO"));
        assert_eq!(seen.vm(uid).work_file.unknown(), Some("EIO"));
    }
    assert_eq!(seen.vm(intent().uid).cow_loop.unknown(), Some("EIO"));
    assert_eq!(seen.images.unknown(), Some("EIO"));
}

#[test]
fn a_loop_over_another_file_is_not_believed() {
    for role in [DiskRole::Base, DiskRole::Cow, DiskRole::Work] {
        let mut inventory = inventory();
        inventory.loops = Probe::Known(vec![looped(role, 3, 999)]);
        let of = |vm: &ObservedVm| match role {
            DiskRole::Base => vm.base_loop.clone(),
            DiskRole::Cow => vm.cow_loop.clone(),
            DiskRole::Work => vm.work_loop.clone(),
        };
        let staying = look(Ok(inventory.clone()), &state_files(), &intent());
        let why = of(staying.vm(intent().uid));
        assert!(why.unknown().unwrap().contains("losetup -d /dev/loop3"));

        // A VM without intent only goes: the tag is enough for that.
        let orphan = assemble(
            "boot".into(),
            &Ok(inventory),
            &state_files(),
            &BTreeMap::new(),
            &[],
        );
        let found = of(orphan.vm(intent().uid));
        assert_eq!(found, Presence::Present(LoopNumber(3)));
    }
}

#[test]
fn two_loops_with_one_tag_are_not_believed() {
    let mut inventory = inventory();
    inventory.loops = Probe::Known(vec![
        looped(DiskRole::Cow, 2, 100),
        looped(DiskRole::Cow, 5, 100),
    ]);
    let seen = look(Ok(inventory), &state_files(), &intent());
    let why = seen.vm(intent().uid).cow_loop.unknown().unwrap();
    assert!(
        why.contains("/dev/loop2") && why.contains("/dev/loop5"),
        "{why}"
    );
}

#[test]
fn a_vm_that_only_its_directory_knows_is_seen() {
    let mut files = state_files();
    let alone = VmFiles {
        leaving: true,
        ..files.vms.as_ref().unwrap()[&intent().uid].clone()
    };
    let nothing = VmFiles {
        cow: Presence::Absent,
        ..alone.clone()
    };
    let vms = files.vms.as_mut().unwrap();
    vms.insert(generate::uid(2), alone);
    vms.insert(generate::uid(3), nothing);
    let seen = look(Ok(inventory()), &files, &intent());
    assert_eq!(seen.vms[&generate::uid(2)].guest, Guest::Leaving);
    assert_eq!(seen.vms[&generate::uid(2)].vmm, Presence::Absent);
    assert!(!seen.vms.contains_key(&generate::uid(3)));
}

#[test]
fn files_are_read_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path(), directory.path(), directory.path());
    let empty = StateFiles::read(&layout, false);
    assert_eq!(empty.vms, Ok(BTreeMap::new()));
    assert_eq!(empty.images, Ok(BTreeMap::new()));
    // Where VMs had disks, no directory is not an empty one.
    let why = StateFiles::read(&layout, true).vms.unwrap_err();
    assert!(why.contains("mount its file system"), "{why}");

    let uid = generate::uid(1);
    std::fs::create_dir_all(layout.vm(uid)).unwrap();
    std::fs::create_dir_all(layout.vms().join("not-a-uid")).unwrap();
    std::fs::write(layout.cow(uid), "1234").unwrap();
    std::os::unix::fs::symlink("/dev/zero", layout.work(uid)).unwrap();
    let image = layout.rootfs(&digest());
    std::fs::create_dir_all(image.parent().unwrap()).unwrap();
    std::fs::create_dir_all(layout.images().join(".removing-x")).unwrap();
    std::fs::write(&image, "ext4").unwrap();

    let read = StateFiles::read(&layout, false);
    let vms = read.vms.unwrap();
    assert_eq!(vms.keys().collect::<Vec<_>>(), [&uid]);
    assert_eq!(vms[&uid].cow.present().unwrap().length, 4);
    assert!(
        vms[&uid]
            .work
            .unknown()
            .unwrap()
            .contains("not a regular file")
    );
    assert_eq!(read.images.unwrap().keys().collect::<Vec<_>>(), [&digest()]);
}

#[test]
fn handles_follow_the_kernel_unless_a_step_was_faster() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path(), directory.path(), directory.path());
    let (vm, other) = (intent().uid, generate::uid(2));
    std::fs::create_dir_all(layout.vm(vm)).unwrap();
    let cache = HandleCache::default();

    cache.rebuild(cache.mark(), "boot", of_inventory(&inventory()), &layout);
    assert_eq!(cache.get(vm).process, Some(process()));
    assert_eq!(cache.running(), [vm]);
    let written = std::fs::read_to_string(layout.handles(vm)).unwrap();
    insta::assert_snapshot!(written, @r#"
    {
      "pid": 7,
      "startTime": 70,
      "bootId": "boot",
      "tap": "bgr1",
      "baseLoop": "/dev/loop1",
      "cowLoop": "/dev/loop2",
      "dmName": "banger-01930000-0000-7000-8000-000000000001-root",
      "dmDevice": "/dev/dm-1"
    }
    "#);

    // An observation that began before a step doesn't undo what the step did.
    let mark = cache.mark();
    cache.change(&layout, vm, |handles| handles.process = None);
    cache.change(&layout, other, |handles| handles.tap = Some("bgr2".into()));
    cache.rebuild(mark, "boot", of_inventory(&inventory()), &layout);
    assert_eq!(cache.get(vm).process, None);
    assert_eq!(cache.get(other).tap.as_deref(), Some("bgr2"));

    // One that began after it does, and what the kernel doesn't hold is gone.
    cache.rebuild(cache.mark(), "boot", Seen::default(), &layout);
    assert_eq!(cache.get(vm), Handles::default());
    assert_eq!(cache.get(other), Handles::default());
    assert!(!layout.handles(vm).exists());
}

/// The inventory with one section that could not be read, in turn.
fn with_a_section_unread() -> [Inventory; 4] {
    let mut all = [inventory(), inventory(), inventory(), inventory()];
    let [vmms, taps, loops, dms] = &mut all;
    vmms.vmms = Probe::Unknown("x".into());
    taps.taps = Probe::Unknown("x".into());
    loops.loops = Probe::Unknown("x".into());
    dms.dms = Probe::Unknown("x".into());
    all
}

#[test]
fn a_failed_section_takes_no_handles_away() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path(), directory.path(), directory.path());
    let vm = intent().uid;
    std::fs::create_dir_all(layout.vm(vm)).unwrap();
    let file = || std::fs::read_to_string(layout.handles(vm)).unwrap();
    let rebuild = |cache: &HandleCache, boot: &str, inventory: &Inventory| {
        cache.rebuild(cache.mark(), boot, of_inventory(inventory), &layout);
    };
    let cache = HandleCache::default();
    rebuild(&cache, "boot", &inventory());
    let (known, written) = (cache.get(vm), file());
    for partial in with_a_section_unread() {
        rebuild(&cache, "boot", &partial);
        assert_eq!((cache.get(vm), file()), (known.clone(), written.clone()));

        // A daemon that starts now knows less than the file, and leaves it.
        let fresh = HandleCache::default();
        rebuild(&fresh, "boot", &partial);
        assert_ne!(fresh.get(vm), known);
        assert_eq!(file(), written);
        rebuild(&fresh, "boot", &inventory());
        assert_eq!((fresh.get(vm), file()), (known.clone(), written.clone()));
    }
    // What the sections that could be read don't hold is gone.
    let mut bare = inventory();
    bare.vmms = Probe::Known(Vec::new());
    bare.taps = Probe::Known(Vec::new());
    bare.dms = Probe::Known(Vec::new());
    bare.loops = Probe::Unknown("x".into());
    rebuild(&cache, "boot", &bare);
    let left = cache.get(vm);
    assert_eq!((left.process, left.tap, left.root), (None, None, None));
    assert_eq!(left.loops, known.loops);
    // Another boot holds nothing of this one.
    bare.boot_id = "later".into();
    rebuild(&cache, "later", &bare);
    assert_eq!(cache.get(vm), Handles::default());
    assert!(!layout.handles(vm).exists());
}

#[tokio::test]
async fn a_process_is_held_only_with_its_start_time() {
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let process = Process {
        pid: child.id(),
        start_time: start_time(child.id()).unwrap().unwrap(),
    };
    let later = Process {
        start_time: process.start_time + 1,
        ..process
    };
    assert!(Alive::hold(later).unwrap().is_none());
    let alive = Alive::hold(process).unwrap().unwrap();
    child.kill().unwrap();
    alive.exited().await.unwrap();
    child.wait().unwrap();
    assert!(Alive::hold(process).unwrap().is_none());
}

/// An API that says each of these states in turn.
fn api(layout: &Layout, uid: VmUid, states: &[&str]) {
    let sockets = layout.sockets(uid);
    std::fs::create_dir_all(&sockets).unwrap();
    let listener = tokio::net::UnixListener::bind(sockets.join("fc.sock")).unwrap();
    let states: Vec<String> = states.iter().map(|&state| state.to_owned()).collect();
    tokio::spawn(async move {
        for state in states {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 512];
            assert!(stream.read(&mut asked).await.unwrap() > 0);
            let body = format!(r#"{{"state":"{state}"}}"#);
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
}

#[tokio::test]
async fn a_guest_that_runs_is_asked_again_only_once_it_may_be_paused() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(
        directory.path(),
        directory.path().join("run"),
        directory.path(),
    );
    let uid = intent().uid;
    api(&layout, uid, &["Running", "Paused", "Paused", "Running"]);
    let instances = Instances::default();
    let seen = async || instances.of(&layout, vec![(uid, process())]).await[&uid].clone();
    assert_eq!(seen().await, Instance::Running);
    assert_eq!(seen().await, Instance::Running, "it was asked again");
    instances.forget(uid);
    // A paused one is asked every time: only it can tell that it goes on.
    assert_eq!(seen().await, Instance::Paused);
    assert_eq!(seen().await, Instance::Paused);
    assert_eq!(seen().await, Instance::Running);
    assert_eq!(seen().await, Instance::Running);
}

#[test]
fn a_base_over_the_image_of_the_last_start_is_the_vms_own() {
    // An old database names another image than the disk was made over.
    let mut vm = intent();
    vm.image = Some(ImageDigest("ef".repeat(32)));
    vm.applied = None;
    let mut files = state_files();
    let unknown = look(Ok(inventory()), &files, &vm);
    assert!(unknown.vm(vm.uid).base_loop.unknown().is_some());
    let mut started = vm.clone();
    started.applied = Some(Applied {
        spec: vm.spec.clone(),
        generation: 1,
        image: digest(),
        restart_token: 0,
    });
    let record = VmRecord {
        start: None,
        vm: started,
    };
    let own = files.vms.as_mut().unwrap().get_mut(&vm.uid).unwrap();
    own.record = Some(Arc::new(record));
    let seen = look(Ok(inventory()), &files, &vm);
    assert!(seen.vm(vm.uid).base_loop.present().is_some());
    assert_eq!(seen.vm(vm.uid).slot, Some(vm.allocation.slot));
}
