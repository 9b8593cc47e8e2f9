//! `updatePolicy: Auto` restarts one VM at a time, and what is broken in its own
//! way keeps nobody from it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use banger_core::api::Quantity;
use banger_core::api::virtual_machine::UpdatePolicy;
use banger_core::intent::{Applied, Backoff, ImageDigest, Intents, Started, VmIntent};
use banger_core::observed::{DiskFile, Guest, Instance, Observed, ObservedVm, Presence, Vmm};
use banger_core::plan::{Clock, Plan, Why, plan};
use banger_core::pressure::{DiskState, Room};
use banger_core::record::{Incarnation, VmRecord};
use banger_protocol::inventory::{Ipv6, Process};
use banger_testkit::generate;

const BOOT: &str = "boot";
const NOW: u64 = 10_000_000;
const CLOCK: Clock = Clock {
    boot_ms: NOW,
    available_memory: Some(1 << 40),
    pool: None,
    disk: DiskState {
        pressure: banger_core::pressure::Pressure::None,
        limits: banger_core::pressure::DiskLimits {
            creates: Quantity::from_mib(0),
            guests: Quantity::from_mib(0),
            hysteresis: Quantity::from_mib(0),
            ballast: Quantity::from_mib(0),
        },
    },
    guest_to_guest: true,
    ipv6: true,
};

/// Three VMs that run, ready, and have all been edited.
struct World {
    intents: Intents,
    observed: Observed,
}

fn process(n: u16) -> Process {
    Process {
        pid: n.into(),
        start_time: n.into(),
    }
}

impl World {
    fn new() -> Self {
        let (mut intents, mut vms) = (Intents::default(), BTreeMap::new());
        for n in 1..=3 {
            let mut vm = generate::vm(n, generate::spec("debian"));
            vm.spec.update_policy = UpdatePolicy::Auto;
            let image = ImageDigest("ab".repeat(32));
            vm.image = Some(image.clone());
            vm.applied = Some(Applied {
                spec: vm.spec.clone(),
                generation: 1,
                image,
                restart_token: 0,
            });
            vm.spec.vcpus += 1;
            vm.generation = 2;
            vm.started = Some(Started {
                boot_id: BOOT.into(),
                boot_ms: 1_000,
            });
            let here = ObservedVm {
                vmm: Presence::Present(Vmm {
                    process: process(n),
                    instance: Instance::Running,
                    executable: Presence::Absent,
                }),
                jail: Presence::Present(()),
                guest: Guest::Ready,
                ..ObservedVm::absent()
            };
            vms.insert(vm.uid, here);
            intents.vms.insert(vm.uid, vm);
        }
        let observed = Observed {
            vms,
            bridge: Presence::Present(()),
            ipv6: Presence::Present(Ipv6::Bridge),
            nat: Presence::Unknown("not asked".into()),
            images: Presence::Present(BTreeSet::new()),
            room: Presence::Present(Room {
                free: Quantity::from_mib(1 << 30),
                ballast: Quantity::default(),
            }),
            ..Observed::absent(BOOT)
        };
        Self { intents, observed }
    }

    fn vm(&mut self, n: u16) -> (&mut VmIntent, &mut ObservedVm) {
        let uid = generate::uid(n);
        let vm = self.intents.vms.get_mut(&uid).unwrap();
        (vm, self.observed.vms.get_mut(&uid).unwrap())
    }

    /// It was stopped and is to be started.
    fn off(&mut self, n: u16) -> &mut VmIntent {
        let (vm, here) = self.vm(n);
        *here = ObservedVm {
            cow_file: Presence::Present(DiskFile {
                length: vm.spec.root_disk.bytes(),
            }),
            ..ObservedVm::absent()
        };
        vm.started = None;
        vm
    }

    /// It was started so long ago, with what is wanted.
    fn started(&mut self, n: u16, ago_ms: u64, guest: Guest) {
        let (vm, here) = self.vm(n);
        here.guest = guest;
        vm.applied.as_mut().unwrap().spec = vm.spec.clone();
        vm.started.as_mut().unwrap().boot_ms = NOW - ago_ms;
    }

    fn plan(&self, clock: Clock) -> Plan {
        plan(&self.intents, &self.observed, clock)
    }

    /// Whom their policy restarts now.
    fn restarts(&self) -> Vec<String> {
        restarts(&self.plan(CLOCK))
    }
}

fn restarts(plan: &Plan) -> Vec<String> {
    let by_policy = plan.vms.iter().filter(|action| action.is_by_policy());
    by_policy.map(|action| action.name.clone()).collect()
}

const NOBODY: [&str; 0] = [];

#[test]
fn the_first_by_name_goes_and_the_others_wait() {
    let mut world = World::new();
    let plan = world.plan(CLOCK);
    assert_eq!(restarts(&plan), ["vm-1"]);
    let waits = plan.waiting.iter().map(|waiting| {
        let restart = matches!(waiting.why, Why::RestartRequired { .. });
        (waiting.name.as_str(), restart)
    });
    assert_eq!(waits.collect::<Vec<_>>(), [("vm-2", true), ("vm-3", true)]);
    // What a person asks for doesn't wait for a turn.
    world.vm(3).0.restart_token = 1;
    let plan = world.plan(CLOCK);
    let stopped: Vec<_> = plan.vms.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(stopped, ["vm-1", "vm-3"]);
}

#[test]
fn nobody_goes_from_the_stop_of_another_until_its_guest_answers() {
    let mut world = World::new();
    // Its end was asked for, and it still runs.
    let (vm, here) = world.vm(3);
    vm.started = None;
    here.record = Some(Arc::new(VmRecord {
        start: Some(Incarnation {
            boot_id: BOOT.into(),
            process: process(3),
        }),
        vm: vm.clone(),
    }));
    assert_eq!(world.restarts(), NOBODY);

    let mut world = World::new();
    world.off(3);
    assert_eq!(world.restarts(), NOBODY);
    // Half made.
    let process = process(3);
    world.vm(3).1.vmm = Presence::Present(Vmm {
        process,
        instance: Instance::NotStarted,
        executable: Presence::Absent,
    });
    assert_eq!(world.restarts(), NOBODY);

    let mut world = World::new();
    world.started(3, 5_000, Guest::Silent);
    assert_eq!(world.restarts(), NOBODY);
    world.started(3, 5_000, Guest::Ready);
    assert_eq!(world.restarts(), ["vm-1"]);
}

#[test]
fn what_boots_may_be_what_is_to_be_restarted() {
    let mut world = World::new();
    let (vm, here) = world.vm(2);
    vm.started.as_mut().unwrap().boot_ms = NOW - 5_000;
    here.guest = Guest::Silent;
    assert_eq!(world.restarts(), ["vm-2"]);
}

#[test]
fn what_is_broken_keeps_nobody_from_it() {
    let mut world = World::new();
    world.off(3);
    let poor = Clock {
        available_memory: Some(0),
        ..CLOCK
    };
    assert_eq!(restarts(&world.plan(poor)), ["vm-1"], "memory");

    world.off(3).crash = Backoff {
        failures: 3,
        not_before_ms: NOW + 1_000,
    };
    assert_eq!(world.restarts(), ["vm-1"], "crash back-off");

    // It may yet succeed, but not for ever.
    for (failures, expected) in [(1, vec![]), (4, vec![]), (5, vec!["vm-1"])] {
        let mut world = World::new();
        world.off(3).error = Backoff {
            failures,
            not_before_ms: NOW + 1_000,
        };
        assert_eq!(world.restarts(), expected, "{failures} failures");
    }

    let mut world = World::new();
    world.off(3);
    world.vm(3).1.cow_file = Presence::Absent;
    assert_eq!(world.restarts(), ["vm-1"], "a lost disk");

    for (ago_ms, guest) in [
        (120_000, Guest::Silent),
        (
            5_000,
            Guest::Failed {
                stage: "root".into(),
                message: "no root".into(),
            },
        ),
        (5_000, Guest::Lost("it went".into())),
    ] {
        let mut world = World::new();
        world.started(3, ago_ms, guest.clone());
        assert_eq!(world.restarts(), ["vm-1"], "{guest:?}");
    }
}

#[test]
fn a_vm_of_another_policy_has_no_turn() {
    let mut world = World::new();
    world.off(3).spec.update_policy = UpdatePolicy::OnNextBoot;
    assert_eq!(world.restarts(), ["vm-1"]);
}
