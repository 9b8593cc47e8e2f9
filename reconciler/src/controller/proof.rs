//! Every call of the host and of the store, with every fault: the daemon
//! converges all the same.
//!
//! ```text
//! scenario without fault -> its calls -> for each call and fault:
//!     scenario again -> (daemon dead? another one) -> converged, as without
//! ```
//!
//! The calls are recorded, not listed: one that is new is covered unnamed.

#![allow(clippy::unwrap_used, missing_docs)]

use banger_testkit::{Site, When};

use crate::wire::request::Power;
use world::{Do, World};

mod kinds;
mod world;

/// The scenario without a fault: its calls, and its end.
async fn dry(before: &[Do], acts: &[Do]) -> (Vec<Site>, Vec<String>) {
    let mut world = World::new();
    world.run(before).await;
    world.faults().record();
    world.run(acts).await;
    world.settle().await;
    let sites = world.faults().recorded();
    (sites, world.end().await)
}

async fn with_fault(before: &[Do], acts: &[Do], site: &Site, when: When) -> (bool, Vec<String>) {
    let mut world = World::new();
    world.run(before).await;
    world.faults().aim(site.clone(), when);
    world.run(acts).await;
    world.settle().await;
    let struck = world.faults().struck();
    (struck, world.end().await)
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

fn prove(scenario: &str, before: &[Do], acts: &[Do]) {
    let (sites, expected) = paused().block_on(dry(before, acts));
    assert!(!sites.is_empty(), "{scenario} calls nothing");
    assert!(sites.iter().any(|site| site.name.starts_with("writing")));
    let (mut struck, mut missed) = (0, Vec::new());
    for site in &sites {
        for when in When::ALL {
            println!("{scenario}: {when:?} at {site:?}");
            let (hit, end) = paused().block_on(with_fault(before, acts, site, when));
            assert_eq!(end, expected, "{scenario}: {when:?} at {site:?}");
            if hit {
                struck += 1;
            } else {
                missed.push(site.clone());
            }
        }
    }
    // How often the host is looked at, and status written, is a matter of
    // timing; steps aren't, nor may much be left out for it.
    let timed = |site: &Site| {
        let looks = ["observing", "reading the trash", "looking at the room"];
        looks.contains(&site.name.as_str()) || site.name.starts_with("writing")
    };
    if let Some(site) = missed.iter().find(|site| !timed(site)) {
        panic!("{scenario}: {site:?} was never reached");
    }
    assert!(
        struck > missed.len() * 9,
        "{scenario}: not reached: {missed:?}"
    );
    println!(
        "{scenario}: {} call sites x {} faults: {struck} struck, {} not reached, all converged",
        sites.len(),
        When::ALL.len(),
        missed.len()
    );
}

const PLAIN: &str = "image: debian, workDisk: {size: 1Gi}, network: {nat: true}";
const PUBLISHED: &str = "image: debian, workDisk: {size: 1Gi}, \
                         network: {nat: true, ports: [{host: 8080, guest: 80}]}";
const WITH_A_KEY: &str = "image: debian, workDisk: {size: 1Gi}, network: {nat: true}, \
    sshAuthorizedKeys: [ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIJxQ5zU5l0Ut8DnTj0mbUsG2rPNbPGNPyYtjoIHIDPKU you@host]";
const MORE_VCPUS: &str = "image: debian, workDisk: {size: 1Gi}, network: {nat: true}, vcpus: 4";
const OTHER_IMAGE: &str = "image: alpine, workDisk: {size: 1Gi}, network: {nat: true}";

/// What is done before the calls count, and what while they do.
struct Scenario {
    name: &'static str,
    before: Vec<Do>,
    acts: Vec<Do>,
}

impl Scenario {
    fn new(name: &'static str, before: Vec<Do>, acts: Vec<Do>) -> Self {
        Self { name, before, acts }
    }

    /// With a VM that runs.
    fn up(name: &'static str, acts: Vec<Do>) -> Self {
        Self::new(name, vec![Do::Images, Do::Vm(PLAIN), Do::Settle], acts)
    }

    fn prove(&self) {
        prove(self.name, &self.before, &self.acts);
    }
}

fn create() -> Scenario {
    let before = vec![Do::Images, Do::Settle];
    Scenario::new("create", before, vec![Do::Vm(PUBLISHED)])
}

fn restart() -> Scenario {
    let restart = Do::Power(Power::Restart);
    Scenario::up("restart", vec![Do::Vm(MORE_VCPUS), Do::Settle, restart])
}

fn replace_root() -> Scenario {
    let acts = vec![Do::Vm(OTHER_IMAGE), Do::Settle, Do::Confirm];
    Scenario::up("replace root", acts)
}

fn update() -> Scenario {
    let acts = vec![Do::Vm(WITH_A_KEY), Do::Settle, Do::Vm(PUBLISHED)];
    Scenario::up("update", acts)
}

fn vanish() -> Scenario {
    Scenario::up("vanish", vec![Do::RemoveVm])
}

fn come_back() -> Scenario {
    let acts = vec![Do::RemoveVm, Do::Settle, Do::Vm(PLAIN)];
    Scenario::up("come back", acts)
}

fn delete() -> Scenario {
    let acts = vec![Do::Delete { purge: false }, Do::Settle, Do::EmptyTrash];
    Scenario::up("delete", acts)
}

fn purge() -> Scenario {
    Scenario::up("purge", vec![Do::Delete { purge: true }])
}

fn stop_and_start() -> Scenario {
    let acts = vec![Do::Power(Power::Stop), Do::Settle, Do::Power(Power::Start)];
    Scenario::up("stop and start", acts)
}

fn full_disk() -> Scenario {
    let acts = vec![Do::Free(100), Do::Settle, Do::Free(1 << 20)];
    Scenario::up("full disk", acts)
}

fn images() -> Scenario {
    let acts = vec![Do::Images, Do::Settle, Do::RemoveImages];
    Scenario::new("image", Vec::new(), acts)
}

fn collect() -> Scenario {
    let acts = vec![Do::EditImages, Do::Settle, Do::Litter, Do::Collect];
    Scenario::new("gc", vec![Do::Images, Do::Settle], acts)
}

fn rename() -> Scenario {
    Scenario::up("rename", vec![Do::Rename(PLAIN)])
}

fn undelete() -> Scenario {
    let before = vec![
        Do::Images,
        Do::Vm(PLAIN),
        Do::Settle,
        Do::Delete { purge: false },
        Do::Settle,
    ];
    Scenario::new("undelete", before, vec![Do::Undelete(PLAIN)])
}

fn vmm_killed() -> Scenario {
    Scenario::up("vmm killed", vec![Do::Kill])
}

fn rebooted() -> Scenario {
    Scenario::up("reboot", vec![Do::Reboot])
}

fn bridge_lost() -> Scenario {
    Scenario::up("bridge lost", vec![Do::LoseBridge, Do::Vm(WITH_A_KEY)])
}

macro_rules! proofs {
    ($($name:ident: $scenario:ident,)*) => {
        $(#[test]
        fn $name() {
            $scenario().prove();
        })*

        fn scenarios() -> Vec<Scenario> {
            vec![$($scenario()),*]
        }
    };
}

proofs! {
    a_vm_is_created: create,
    restart_for_changed_vcpus: restart,
    replace_root_confirmed: replace_root,
    keys_and_ports_change_live: update,
    a_document_vanishes: vanish,
    a_document_vanishes_and_comes_back: come_back,
    a_vm_is_deleted_and_the_trash_emptied: delete,
    a_vm_is_purged: purge,
    a_vm_is_stopped_and_started: stop_and_start,
    the_disk_fills_up_and_is_freed: full_disk,
    image_import_and_removal: images,
    an_edited_image_and_gc: collect,
    a_vmm_is_killed: vmm_killed,
    the_host_is_rebooted: rebooted,
    the_bridge_is_removed: bridge_lost,
    a_vm_is_renamed: rename,
    a_vm_is_undeleted: undelete,
}
