//! Which imported images `banger gc` removes: exactly those that nobody needs,
//! and none as long as anybody who may need one could not be asked.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use banger_core::api::Quantity;
use banger_core::intent::{Applied, ImageDigest, Imported, Intents, VmIntent};
use banger_core::inventory::{
    Backing, Collection, Holdings, InventoryReport, Scratch, State, StoredImage, VmDirectory,
    collect, compare,
};
use banger_core::observed::Presence;
use banger_core::trash::Trashed;
use banger_protocol::inventory::{Loop, Probe};
use banger_protocol::{DiskRole, LoopNumber, VmUid};
use banger_testkit::{FakeHost, generate};
use jiff::Timestamp;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

/// Images of the store.
const STORE: u8 = 6;

fn digest(n: u8) -> ImageDigest {
    ImageDigest(format!("{n:02x}").repeat(32))
}

fn backing(n: u8) -> Backing {
    Backing {
        device: 7,
        inode: n.into(),
    }
}

/// Who may need an image.
#[derive(Clone, Debug, Default)]
struct World {
    /// Documents, by the images that they were imported as.
    documents: BTreeSet<u8>,
    /// VMs: pinned to, and running with.
    vms: Vec<(Option<u8>, Option<u8>)>,
    /// VMs in the trash, likewise.
    trash: Vec<(Option<u8>, Option<u8>)>,
    /// Images that a loop device is over.
    open: BTreeSet<u8>,
    /// Images whose root file system could not be looked at.
    unseen: BTreeSet<u8>,
}

impl World {
    fn vm(n: usize, (pinned, applied): (Option<u8>, Option<u8>)) -> VmIntent {
        let mut vm = generate::vm(u16::try_from(n + 1).unwrap(), generate::spec("debian"));
        vm.image = pinned.map(digest);
        vm.applied = applied.map(|image| Applied {
            spec: vm.spec.clone(),
            generation: 1,
            image: digest(image),
            restart_token: 0,
        });
        vm
    }

    fn intents(&self) -> Intents {
        let vms = self.vms.iter().enumerate();
        let vms = vms.map(|(n, images)| Self::vm(n, *images));
        let images = self.documents.iter().map(|n| {
            let mut image = generate::image((*n).into(), "debian");
            image.imported = Some(Imported {
                generation: 1,
                digest: digest(*n),
                rootfs: Quantity::from_mib(1),
            });
            image
        });
        Intents {
            vms: vms.map(|vm| (vm.uid, vm)).collect(),
            images: images.map(|image| (image.uid, image)).collect(),
        }
    }

    fn holdings(&self) -> Holdings {
        let mut holdings = FakeHost::new().do_holdings();
        let images = (0..STORE).map(|n| {
            let rootfs = match self.unseen.contains(&n) {
                true => Presence::Unknown("EACCES".into()),
                false => Presence::Present(backing(n)),
            };
            let path = format!("/images/{n}");
            (digest(n), StoredImage { path, rootfs })
        });
        holdings.images = Ok(images.collect());
        let trash = self.trash.iter().enumerate().map(|(n, images)| {
            // Their uids are no living VM's.
            let vm = Self::vm(n + 500, *images);
            trashed(vm.uid, Some(vm))
        });
        holdings.trash = Ok(Arc::new(trash.collect()));
        let owner = self.vms.first().map(|images| Self::vm(0, *images).uid);
        let loops = self.open.iter().map(|n| Loop {
            device: LoopNumber(u32::from(*n)),
            uid: owner.unwrap(),
            role: DiskRole::Base,
            backing_device: backing(*n).device,
            backing_inode: backing(*n).inode,
        });
        holdings.inventory.as_mut().unwrap().loops = Probe::Known(loops.collect());
        holdings
    }

    /// Worked out another way round: from those who need to what they need.
    fn needed(&self) -> BTreeSet<u8> {
        let vms = self.vms.iter().chain(&self.trash);
        let vms = vms.flat_map(|(pinned, applied)| [*pinned, *applied]);
        vms.flatten()
            .chain(self.documents.iter().copied())
            .chain(self.open.iter().copied())
            .chain(self.unseen.iter().copied())
            .collect()
    }
}

fn trashed(uid: VmUid, vm: Option<VmIntent>) -> Trashed {
    Trashed {
        id: format!("{uid}-entry"),
        uid,
        trashed: Timestamp::UNIX_EPOCH,
        disk: None,
        vm,
        disks: vec![DiskRole::Cow],
        taken: 1,
        unread: None,
    }
}

fn both(
    world: &World,
    busy: &BTreeSet<VmUid>,
    holdings: &Holdings,
) -> (Collection, InventoryReport) {
    let intents = world.intents();
    let nobody = BTreeSet::new();
    let collection = collect(&intents, busy, holdings, &nobody);
    let report = compare(&intents, busy, holdings);
    assert_eq!(
        report.count(State::Unneeded),
        collection.images.len(),
        "what is listed is what is collected"
    );
    (collection, report)
}

fn world() -> impl Strategy<Value = World> {
    let image = || option::of(0..STORE);
    let vms = || vec((image(), image()), 0..3);
    let some = || btree_set(0..STORE, 0..2);
    (some(), vms(), vms(), some(), some()).prop_map(|(documents, vms, trash, open, unseen)| World {
        open: if vms.is_empty() {
            BTreeSet::new()
        } else {
            open
        },
        documents,
        vms,
        trash,
        unseen,
    })
}

/// Leaves a question open.
type Cloud = fn(&mut Holdings, &mut BTreeSet<VmUid>);

/// Everything that does so, each with a word of what is said.
fn doubts() -> Vec<(&'static str, Cloud)> {
    fn orphan() -> VmUid {
        generate::uid(900)
    }
    vec![
        ("EIO", |it, _| it.inventory = Err("EIO".into())),
        ("EIO", |it, _| {
            it.inventory.as_mut().unwrap().vmms = Probe::Unknown("EIO".into());
        }),
        ("EIO", |it, _| {
            it.inventory.as_mut().unwrap().loops = Probe::Unknown("EIO".into());
        }),
        ("EIO", |it, _| {
            it.inventory.as_mut().unwrap().dms = Probe::Unknown("EIO".into());
        }),
        ("EIO", |it, _| it.directories = Err("EIO".into())),
        ("EIO", |it, _| it.trash = Err("EIO".into())),
        ("try again", |_, busy| {
            busy.insert(orphan());
        }),
        ("which no intent knows", |it, _| {
            let directory = VmDirectory {
                path: "/vms/x".into(),
                scratch: Scratch::Missing,
            };
            it.directories = Ok(BTreeMap::from([(orphan(), directory)]));
        }),
        ("nothing says which image", |it, _| {
            let mut entries = it.trash.as_ref().unwrap().to_vec();
            entries.push(trashed(orphan(), None));
            it.trash = Ok(Arc::new(entries));
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_is_exactly_what_nobody_needs(world in world()) {
        let (collection, report) = both(&world, &BTreeSet::new(), &world.holdings());
        let needed = world.needed();
        let unneeded: Vec<_> = (0..STORE).filter(|n| !needed.contains(n)).map(digest).collect();
        prop_assert_eq!(&collection.images, &unneeded);
        prop_assert!(collection.left.is_empty());
        // No leak, and no difference to what is asked of an exact host.
        prop_assert_eq!(report.count(State::Unowned), 0);
    }

    #[test]
    fn nothing_goes_while_one_who_may_need_it_cannot_be_asked(
        world in world(),
        (says, cloud) in prop::sample::select(doubts()),
    ) {
        let (mut holdings, mut busy) = (world.holdings(), BTreeSet::new());
        cloud(&mut holdings, &mut busy);
        let (collection, _) = both(&world, &busy, &holdings);
        prop_assert!(collection.images.is_empty(), "{collection:#?}");
        // Where something would have gone it is said what keeps it.
        let (clear, _) = both(&world, &BTreeSet::new(), &world.holdings());
        let told = collection.left.iter().any(|left| left.why.contains(says));
        prop_assert!(told || clear.images.is_empty(), "{collection:#?}");
    }
}

#[test]
fn a_store_that_cannot_be_read_is_said_and_nothing_goes() {
    let world = World::default();
    let mut holdings = world.holdings();
    holdings.images = Err("EIO".into());
    let (collection, report) = both(&world, &BTreeSet::new(), &holdings);
    assert_eq!(collection.images, []);
    assert!(collection.left[0].why.contains("EIO"));
    assert!(!report.is_exact(), "what is unknown is no zero");
}

#[test]
fn a_work_disk_without_its_vm_needs_no_image() {
    let world = World::default();
    let mut holdings = world.holdings();
    let mut entry = trashed(generate::uid(900), None);
    entry.disks = vec![DiskRole::Work];
    holdings.trash = Ok(Arc::new(vec![entry]));
    let (collection, _) = both(&world, &BTreeSet::new(), &holdings);
    assert_eq!(collection.images.len(), usize::from(STORE));
}
