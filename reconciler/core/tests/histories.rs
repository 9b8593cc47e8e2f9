//! Random histories against the simulated host: whatever people do and
//! whatever breaks, the host ends up as intended, and then stays as it is.

#![allow(clippy::unwrap_used, missing_docs)]

use banger_core::admit::canonical;
use banger_core::api::virtual_machine::{
    DiskSpec, EgressSpec, NetworkSpec, Port, Protocol, RunPolicy,
};
use banger_core::api::{Quantity, VirtualMachineSpec};
use banger_core::config::VmDefaults;
use banger_core::effect::{self, FieldChange};
use banger_core::intent::{Backoff, Deletion, Intents, PowerOverride};
use banger_core::observed::{Guest, Instance};
use banger_core::outcome::{self, Moment};
use banger_core::plan::{
    self, Clock, ImageStep, Plan, PoolTarget, Step, VmPlan, Why, wants_to_run,
};
use banger_core::pressure::DiskState;
use banger_core::seam::VmRef;
use banger_protocol::{DiskRole, PoolSize, VmUid, WarmUps};
use banger_testkit::{FakeHost, Fault, Site, When, generate};
use jiff::Timestamp;
use proptest::prelude::*;

/// A daemon without I/O: intents, the simulated host, and a clock.
struct World {
    host: FakeHost,
    intents: Intents,
    boot_ms: u64,
}

impl World {
    fn new(vms: u16) -> Self {
        let mut intents = Intents::default();
        for (n, name) in [(1, "debian"), (2, "alpine")] {
            let image = generate::image(n, name);
            intents.images.insert(image.uid, image);
        }
        for n in 1..=vms {
            let vm = generate::vm(n, generate::spec("debian"));
            intents.vms.insert(vm.uid, vm);
        }
        Self {
            host: FakeHost::new(),
            intents,
            boot_ms: 1_000_000,
        }
    }

    fn plan(&self) -> Plan {
        let clock = Clock {
            boot_ms: self.boot_ms,
            available_memory: Some(1 << 50),
            disk: DiskState::default(),
            pool: Some(PoolTarget {
                size: PoolSize::try_from(2).unwrap(),
                parallel: WarmUps::try_from(2).unwrap(),
            }),
            guest_to_guest: true,
            ipv6: true,
        };
        plan::plan(&self.intents, &self.host.do_observe(), clock)
    }

    /// Passes until nothing is left to do; answers how many it took.
    fn settle(&mut self) -> usize {
        for pass in 0..60 {
            let plan = self.plan();
            let due = plan.waiting.iter().filter_map(|waiting| match waiting.why {
                Why::BackOff { until_ms } | Why::CrashLoopBackOff { until_ms } => Some(until_ms),
                _ => None,
            });
            let due = due.chain(self.image_backoff()).min();
            if plan.is_empty() {
                match due {
                    Some(until) => self.boot_ms = until.max(self.boot_ms + 1),
                    None => return pass,
                }
            }
            self.carry_out(plan);
        }
        panic!("it doesn't settle: {:#?}", self.plan());
    }

    fn image_backoff(&self) -> Option<u64> {
        let times = self
            .intents
            .images
            .values()
            .map(|image| image.error.not_before_ms);
        times.filter(|at| *at > self.boot_ms).min()
    }

    fn carry_out(&mut self, plan: Plan) {
        for step in plan.host.iter().chain(&plan.pool) {
            // A failure is seen by the next pass.
            let _ = self.host.do_host_step(step);
        }
        for step in plan.images {
            match step {
                ImageStep::Import { uid, .. } => {
                    let image = self.intents.images.get_mut(&uid).unwrap();
                    match self.host.do_import(image) {
                        Ok(imported) => outcome::after_import(image, imported),
                        Err(_) => outcome::after_failure(&mut image.error, self.boot_ms),
                    }
                }
                ImageStep::Forget { uid, .. } => {
                    self.intents.images.remove(&uid);
                }
                ImageStep::Remove { digest } => {
                    // What failed is left to `banger gc`.
                    let _ = self.host.do_remove_image(&digest);
                }
            }
        }
        for action in plan.vms {
            self.chain(&action);
        }
    }

    fn chain(&mut self, action: &VmPlan) {
        let moment = Moment {
            boot_id: self.host.do_observe().boot_id,
            boot_ms: self.boot_ms,
        };
        for step in &action.steps {
            if *step == Step::Forget {
                self.intents.vms.remove(&action.uid);
                return;
            }
            let vm = self.intents.vms[&action.uid].clone();
            let stored = step.is_the_stores();
            let done = if stored {
                Ok(())
            } else {
                self.host
                    .do_vm_step(&VmRef::Intended(Box::new(vm.clone())), step)
            };
            let vm = self.intents.vms.get_mut(&action.uid).unwrap();
            match done {
                Ok(()) => {
                    outcome::after_step(vm, step, &moment);
                }
                Err(_) => {
                    outcome::after_failure(&mut vm.error, self.boot_ms);
                    return;
                }
            }
        }
        if let Some(vm) = self.intents.vms.get_mut(&action.uid) {
            outcome::after_success(&mut vm.error);
        }
    }

    fn respec(&mut self, uid: VmUid, edit: impl FnOnce(&mut VirtualMachineSpec)) {
        let Some(vm) = self.intents.vms.get_mut(&uid) else {
            return;
        };
        edit(&mut vm.written);
        vm.spec = canonical(&vm.written, None, &VmDefaults::default());
        vm.generation += 1;
        vm.error = Backoff::default();
        vm.crash = Backoff::default();
    }

    fn confirm(&mut self, uid: VmUid) {
        let intents = self.intents.clone();
        let Some(vm) = self.intents.vms.get_mut(&uid) else {
            return;
        };
        let changes = effect::pending(vm, &intents);
        let confirmed = changes.iter().filter_map(FieldChange::confirmation);
        vm.confirmations.extend(confirmed);
    }

    /// Disks of a VM that it waits for.
    fn missing(&self, uid: VmUid) -> Vec<FieldChange> {
        let waiting = self.plan().waiting.into_iter();
        let mut missing = waiting.filter_map(|waiting| match waiting.why {
            Why::DiskMissing { changes } if waiting.uid == uid => Some(changes),
            _ => None,
        });
        missing.next().unwrap_or_default()
    }

    /// The VM's row is lost, and its root disk stays where it is or is put away.
    fn orphan(&mut self, uid: VmUid, put_away: bool) {
        self.intents.vms.remove(&uid);
        if !put_away {
            return;
        }
        let roles = [DiskRole::Work, DiskRole::Cow, DiskRole::Base];
        let steps = [
            Step::KillVmm,
            Step::RemoveVmm,
            Step::RemoveTap,
            Step::RemoveRoot,
        ];
        let loops = roles.map(|role| Step::DetachLoop { role });
        let drop = [Step::DropDisks { purge: false }];
        for step in steps.iter().chain(&loops).chain(&drop) {
            // A fault that lies ahead may strike: then it stays where it is.
            let _ = self.host.do_vm_step(&VmRef::Orphan(uid), step);
        }
    }

    /// What must hold whenever everything has settled.
    fn check(&self) {
        let observed = self.host.do_observe();
        if self.intents.vms.values().any(wants_to_run) {
            let warm = self.host.pool().warm;
            assert!((2..=4).contains(&warm), "the pool is full: {warm}");
        }
        for vm in self.intents.vms.values() {
            let here = observed.vm(vm.uid);
            assert!(vm.deletion.is_none(), "{} was never forgotten", vm.name());
            let running = here
                .vmm
                .present()
                .is_some_and(|vmm| vmm.instance == Instance::Running);
            assert_eq!(running, wants_to_run(vm), "{}", vm.name());
            if !running {
                for gone in [
                    here.tap.is_absent(),
                    here.root.is_absent(),
                    here.jail.is_absent(),
                ] {
                    assert!(gone, "{} is off and left something: {here:?}", vm.name());
                }
                continue;
            }
            let applied = vm.applied.as_ref().unwrap();
            assert_eq!(here.guest, Guest::Ready);
            assert_eq!(here.ports, vm.spec.ports);
            assert_eq!(vm.image.as_ref(), Some(&applied.image));
            assert_eq!(applied.restart_token, vm.restart_token);
            assert_eq!(
                here.work_loop.present().is_some(),
                applied.spec.work_disk.is_some(),
                "{}",
                vm.name()
            );
        }
        for (uid, here) in &observed.vms {
            if !self.intents.vms.contains_key(uid) {
                assert!(here.vmm.is_absent() && here.tap.is_absent() && here.cow_file.is_absent());
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Vcpus(u8),
    Memory(u64),
    Image(bool),
    RootDisk(u64),
    WorkDisk(Option<u64>),
    Nat(bool),
    Egress(Option<bool>),
    Publish(u16),
    Run(RunPolicy),
    Confirm,
    Power(PowerOverride),
    Restart,
    Delete { purge: bool },
    Add,
    Kill,
    Leave,
    Reboot,
    Fault(u64, bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1u8..4).prop_map(Event::Vcpus),
        (1u64..4).prop_map(|n| Event::Memory(n * 256)),
        any::<bool>().prop_map(Event::Image),
        (1u64..4).prop_map(|n| Event::RootDisk(n * 2048)),
        proptest::option::of(1u64..4).prop_map(Event::WorkDisk),
        any::<bool>().prop_map(Event::Nat),
        any::<Option<bool>>().prop_map(Event::Egress),
        (8000u16..8003).prop_map(Event::Publish),
        prop_oneof![
            Just(RunPolicy::Always),
            Just(RunPolicy::OnFailure),
            Just(RunPolicy::Halted)
        ]
        .prop_map(Event::Run),
        Just(Event::Confirm),
        prop_oneof![
            Just(PowerOverride::None),
            Just(PowerOverride::Stopped),
            Just(PowerOverride::Started)
        ]
        .prop_map(Event::Power),
        Just(Event::Restart),
        any::<bool>().prop_map(|purge| Event::Delete { purge }),
        Just(Event::Add),
        Just(Event::Kill),
        Just(Event::Leave),
        Just(Event::Reboot),
        (0u64..20, any::<bool>()).prop_map(|(n, after)| Event::Fault(n, after)),
    ]
}

fn happen(world: &mut World, n: u16, event: Event) {
    let uid = generate::uid(n);
    match event {
        Event::Vcpus(n) => world.respec(uid, |spec| spec.vcpus = Some(n)),
        Event::Memory(mib) => {
            world.respec(uid, |spec| spec.memory = Some(Quantity::from_mib(mib)));
        }
        Event::Image(other) => {
            let image = generate::name(if other { "alpine" } else { "debian" });
            world.respec(uid, |spec| spec.image = image);
        }
        Event::RootDisk(mib) => {
            let size = Quantity::from_mib(mib);
            world.respec(uid, |spec| spec.root_disk = Some(DiskSpec { size }));
        }
        Event::WorkDisk(gib) => {
            let disk = gib.map(|gib| DiskSpec {
                size: Quantity::from_mib(gib << 10),
            });
            world.respec(uid, |spec| spec.work_disk = disk);
        }
        Event::Nat(nat) => world.respec(uid, |spec| {
            spec.network.get_or_insert_with(NetworkSpec::default).nat = Some(nat);
        }),
        Event::Egress(policy) => world.respec(uid, |spec| {
            let allow = |some| match some {
                true => vec!["192.0.2.0/24".parse().unwrap()],
                false => Vec::new(),
            };
            let egress = policy.map(|some| EgressSpec { allow: allow(some) });
            spec.network.get_or_insert_with(NetworkSpec::default).egress = egress;
        }),
        Event::Publish(host) => world.respec(uid, |spec| {
            let port = Port {
                host,
                guest: 80,
                protocol: Protocol::Tcp,
                address: None,
            };
            spec.network.get_or_insert_with(NetworkSpec::default).ports = vec![port];
        }),
        Event::Run(policy) => {
            world.respec(uid, |spec| spec.run_policy = Some(policy));
            if let Some(vm) = world.intents.vms.get_mut(&uid) {
                vm.completed = false;
                vm.power = PowerOverride::None;
            }
        }
        Event::Confirm => world.confirm(uid),
        Event::Power(power) => {
            if let Some(vm) = world.intents.vms.get_mut(&uid) {
                vm.power = power;
            }
        }
        Event::Restart => {
            if let Some(vm) = world.intents.vms.get_mut(&uid) {
                vm.restart_token += 1;
            }
        }
        Event::Delete { purge } => {
            if let Some(vm) = world.intents.vms.get_mut(&uid) {
                let timestamp = Timestamp::UNIX_EPOCH;
                vm.deletion = Some(Deletion {
                    timestamp,
                    explicit: true,
                    purge,
                });
            }
        }
        Event::Add => {
            let vm = generate::vm(n, generate::spec("debian"));
            world.intents.vms.entry(uid).or_insert(vm);
        }
        Event::Kill => {
            world.host.kill_vmm(uid);
        }
        Event::Leave => {
            world.host.guest_leaves(uid);
        }
        Event::Reboot => {
            world.host.reboot();
            world.boot_ms = 5_000;
        }
        Event::Fault(n, after) => {
            let call = world.host.calls() + n;
            let when = if after { When::After } else { When::Before };
            world.host.add_fault(Fault { call, when });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_settles_and_stays(
        events in proptest::collection::vec((1u16..4, event(), any::<bool>()), 1..30)
    ) {
        let mut world = World::new(3);
        for (n, event, settle) in events {
            happen(&mut world, n, event);
            if settle {
                world.settle();
                world.check();
            }
        }
        world.settle();
        world.check();
        prop_assert_eq!(world.settle(), 0, "a settled host has nothing left to do");
    }

    #[test]
    fn a_failed_probe_neither_makes_nor_removes_anything(
        events in proptest::collection::vec((1u16..4, event()), 0..12)
    ) {
        let mut world = World::new(3);
        world.settle();
        for (n, event) in events {
            happen(&mut world, n, event);
        }
        world.host.fail_observations(true);
        let plan = world.plan();
        prop_assert!(plan.vms.is_empty() && plan.host.is_empty() && plan.pool.is_none(), "{:?}", plan);
    }

    #[test]
    fn no_image_goes_from_under_a_root_disk(
        events in proptest::collection::vec((1u16..4, event()), 0..12),
        orphans in proptest::collection::btree_map(1u16..4, any::<bool>(), 0..4),
        settle in any::<bool>(),
    ) {
        let mut world = World::new(3);
        if settle {
            world.settle();
        }
        for (n, event) in events {
            happen(&mut world, n, event);
        }
        world.settle();
        for (n, put_away) in orphans {
            world.orphan(generate::uid(n), put_away);
        }
        for image in world.intents.images.values_mut() {
            image.deletion = Some(Deletion {
                timestamp: Timestamp::UNIX_EPOCH,
                explicit: true,
                purge: false,
            });
        }
        world.settle();
        prop_assert!(world.intents.images.is_empty(), "no name is held for ever");
        prop_assert!(world.host.bereft().is_empty());
    }

    #[test]
    fn what_is_deleted_leaves_nothing(
        events in proptest::collection::vec((1u16..4, event()), 0..12)
    ) {
        let mut world = World::new(3);
        for (n, event) in events {
            happen(&mut world, n, event);
        }
        for n in 1..4 {
            happen(&mut world, n, Event::Delete { purge: false });
        }
        world.settle();
        prop_assert!(world.intents.vms.is_empty());
        prop_assert!(world.host.is_empty());
    }
}

#[test]
fn disks_are_replaced_only_when_confirmed() {
    let mut world = World::new(1);
    let uid = generate::uid(1);
    world.respec(uid, |spec| {
        spec.work_disk = Some(DiskSpec {
            size: Quantity::from_mib(8192),
        });
    });
    world.settle();
    let before = world.intents.vms[&uid].image.clone();
    world.respec(uid, |spec| {
        spec.image = generate::name("alpine");
        spec.work_disk = None;
        spec.vcpus = Some(4);
    });
    world.intents.vms.get_mut(&uid).unwrap().restart_token += 1;
    world.settle();
    let vm = &world.intents.vms[&uid];
    let applied = vm.applied.as_ref().unwrap();
    assert_eq!(applied.spec.vcpus, 4, "what destroys nothing is taken");
    assert_eq!(vm.image, before, "what replaces a disk is held");
    assert!(applied.spec.work_disk.is_some());
    assert!(world.host.trashed(uid).is_empty());

    world.confirm(uid);
    world.settle();
    world.check();
    let vm = &world.intents.vms[&uid];
    assert_ne!(vm.image, before);
    assert_eq!(world.host.trashed(uid), [DiskRole::Cow, DiskRole::Work]);
}

#[test]
fn the_first_crash_restarts_at_once_and_repeated_ones_wait() {
    let mut world = World::new(1);
    let uid = generate::uid(1);
    world.settle();
    let mut waits = Vec::new();
    for _ in 0..4 {
        world.host.kill_vmm(uid);
        let before = world.boot_ms;
        world.settle();
        waits.push(world.boot_ms - before);
    }
    assert_eq!(waits, [0, 10_000, 20_000, 40_000]);
}

#[test]
fn a_reboot_of_the_host_is_no_crash() {
    let mut world = World::new(2);
    world.settle();
    happen(&mut world, 1, Event::Reboot);
    world.settle();
    world.check();
    assert_eq!(world.intents.vms[&generate::uid(1)].crash.failures, 0);
}

#[test]
fn on_failure_stays_off_after_a_good_end_and_comes_back_after_a_bad_one() {
    let mut world = World::new(1);
    let uid = generate::uid(1);
    world.respec(uid, |spec| spec.run_policy = Some(RunPolicy::OnFailure));
    world.settle();
    world.host.kill_vmm(uid);
    world.settle();
    world.check();
    assert!(!world.intents.vms[&uid].completed);
    world.host.guest_leaves(uid);
    world.settle();
    world.check();
    assert!(world.intents.vms[&uid].completed);
}

#[test]
fn the_pool_is_filled_with_the_bridge_and_only_for_vms() {
    let mut world = World::new(0);
    assert_eq!(world.settle(), world.intents.images.len().min(1));
    assert_eq!(world.host.pool().warm, 0, "nobody wants a tap");
    world = World::new(1);
    assert!(world.plan().pool.is_none(), "the bridge comes first");
    world.settle();
    let pool = world.host.pool();
    assert_eq!((pool.warm, pool.in_use), (2, 1));
    assert_eq!(pool.created, 3, "the one that the VM has was warm as well");
    // A full pool keeps the one that comes back, and has it for the next start.
    let uid = generate::uid(1);
    world.respec(uid, |spec| spec.run_policy = Some(RunPolicy::Halted));
    world.settle();
    let pool = world.host.pool();
    assert_eq!((pool.warm, pool.in_use), (3, 0));
    world.respec(uid, |spec| spec.run_policy = Some(RunPolicy::Always));
    world.settle();
    let pool = world.host.pool();
    assert_eq!((pool.warm, pool.in_use, pool.created), (2, 1, 3));
}

/// An image that no intent needs goes: what keeps the others isn't that none does.
#[test]
fn an_image_that_nothing_lies_over_goes_with_its_document() {
    let mut world = World::new(1);
    world.settle();
    let images: Vec<_> = world.intents.images.keys().copied().collect();
    for uid in images {
        let image = world.intents.images.get_mut(&uid).unwrap();
        let digest = image.imported.as_ref().unwrap().digest.clone();
        image.deletion = Some(Deletion {
            timestamp: Timestamp::UNIX_EPOCH,
            explicit: true,
            purge: false,
        });
        let needed = world.intents.vms.values().any(|vm| vm.needs(&digest));
        world.settle();
        assert_eq!(world.host.holds_image(&digest), needed);
    }
}

/// A VM that ran, with a work disk, and is off.
fn off_with_disks() -> (World, VmUid) {
    let mut world = World::new(1);
    let uid = generate::uid(1);
    happen(&mut world, 1, Event::WorkDisk(Some(1)));
    world.settle();
    happen(&mut world, 1, Event::Power(PowerOverride::Stopped));
    world.settle();
    happen(&mut world, 1, Event::Power(PowerOverride::Started));
    (world, uid)
}

#[test]
fn a_disk_that_is_gone_is_not_made_anew_unless_somebody_says_so() {
    for role in [DiskRole::Cow, DiskRole::Work] {
        let (mut world, uid) = off_with_disks();
        world.host.lose_disk(uid, role);
        world.settle();
        let here = world.host.do_observe().vm(uid).clone();
        let file = match role {
            DiskRole::Work => here.work_file,
            _ => here.cow_file,
        };
        assert!(file.is_absent() && here.vmm.is_absent(), "nothing is made");
        let missing = world.missing(uid);
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert_eq!(missing[0].disk, Some(role));
        let vm = world.intents.vms.get_mut(&uid).unwrap();
        vm.confirmations.extend(missing[0].confirmation());
        world.settle();
        world.check();
        assert!(world.intents.vms[&uid].confirmations.is_empty());
        // The word was for one disk that was gone, and for no later one.
        happen(&mut world, 1, Event::Power(PowerOverride::Stopped));
        world.settle();
        world.host.lose_disk(uid, role);
        happen(&mut world, 1, Event::Power(PowerOverride::Started));
        world.settle();
        assert_eq!(world.missing(uid).len(), 1);
    }
}

#[test]
fn a_disk_that_comes_back_is_taken_as_it_is() {
    let (mut world, uid) = off_with_disks();
    world.host.lose_disk(uid, DiskRole::Work);
    world.settle();
    assert_eq!(world.missing(uid).len(), 1);
    let vm = VmRef::Intended(Box::new(world.intents.vms[&uid].clone()));
    let size = banger_protocol::Sectors::from_bytes(1 << 30);
    world
        .host
        .do_vm_step(&vm, &Step::MakeWorkDisk { size })
        .unwrap();
    world.settle();
    world.check();
    assert_eq!(world.missing(uid), []);
}

/// Only the origin was made, and the size is changed before the rest is.
#[test]
fn a_snapshot_that_was_cut_short_takes_another_size() {
    let mut world = World::new(1);
    let uid = generate::uid(1);
    let snapshot = Site {
        name: "creating the snapshot".into(),
        nth: 0,
    };
    world.host.faults().aim(snapshot, When::Half);
    for _ in 0..5 {
        if !world.host.faults().struck() {
            world.carry_out(world.plan());
        }
    }
    let here = world.host.do_observe().vm(uid).clone();
    assert!(here.origin.present().is_some() && here.root.is_absent());
    happen(&mut world, 1, Event::RootDisk(8192));
    world.settle();
    world.check();
    let here = world.host.do_observe().vm(uid).clone();
    let size = banger_protocol::Sectors::from_bytes(8192 << 20);
    assert_eq!(here.root.present().unwrap().size, size);
}

/// The old disk went to the trash, the new one isn't made yet, and the spec is
/// changed back: there is nothing of the old disk to wait for.
#[test]
fn a_replacement_that_was_cut_short_is_no_loss() {
    let mut world = World::new(1);
    let uid = generate::uid(1);
    world.settle();
    happen(&mut world, 1, Event::Image(true));
    world.confirm(uid);
    // It is stopped, its disk is put away, and the daemon dies.
    world.carry_out(world.plan());
    let vm = VmRef::Intended(Box::new(world.intents.vms[&uid].clone()));
    let role = DiskRole::Cow;
    world
        .host
        .do_vm_step(&vm, &Step::TrashDisk { role })
        .unwrap();
    assert!(world.host.do_observe().vm(uid).cow_file.is_absent());
    happen(&mut world, 1, Event::Image(false));
    world.settle();
    world.check();
    assert_eq!(world.missing(uid), []);
}
