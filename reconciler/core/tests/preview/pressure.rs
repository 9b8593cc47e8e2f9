//! A disk that fills up.

use banger_core::api::Quantity;
use banger_core::intent::PowerOverride;
use banger_core::observed::{Instance, Observed, ObservedVm, Presence};
use banger_core::plan::{Clock, HostStep, Step, Verb, Why, plan};
use banger_core::pressure::{DiskState, Pressure, Room};

use super::{CLOCK, ROOMY, never_started, running};

pub(crate) fn under(pressure: Pressure) -> Clock {
    let limits = ROOMY.limits;
    Clock {
        disk: DiskState { pressure, limits },
        ..CLOCK
    }
}

fn with_room(observed: &Observed, free: u64, ballast: u64) -> Observed {
    let (free, ballast) = (Quantity::from_mib(free), Quantity::from_mib(ballast));
    Observed {
        room: Presence::Present(Room { free, ballast }),
        ..observed.clone()
    }
}

fn pause_in(observed: &mut Observed) {
    for vm in observed.vms.values_mut() {
        if let Presence::Present(vmm) = &mut vm.vmm {
            vmm.instance = Instance::Paused;
        }
    }
}

#[test]
fn a_guest_that_could_fill_the_disk_is_paused_whatever_else_there_is() {
    let (mut intents, observed) = running("vcpus: 1");
    let full = with_room(&observed, 10, 256);
    let now = under(Pressure::Guests);
    let planned = plan(&intents, &full, now);
    assert_eq!(planned.vms[0].verb, Verb::Pause);
    assert_eq!(planned.vms[0].steps, [Step::PauseGuest]);
    assert_eq!(planned.ballast, Some(HostStep::ReleaseBallast));

    // A back-off, or a tap that can't be seen, keeps nothing back.
    let vm = intents.vms.values_mut().next().unwrap();
    vm.error.not_before_ms = CLOCK.boot_ms + 5_000;
    let mut half_seen = full.clone();
    for vm in half_seen.vms.values_mut() {
        vm.tap = Presence::Unknown("EIO".into());
    }
    assert_eq!(plan(&intents, &half_seen, now).vms[0].verb, Verb::Pause);

    // Once it is paused nothing is left to do.
    let mut paused = with_room(&full, 266, 0);
    pause_in(&mut paused);
    let planned = plan(&intents, &paused, now);
    assert!(planned.is_empty(), "{planned:#?}");
    let left = Quantity::from_mib(10);
    let needed = Quantity::from_mib(768);
    let why = Why::DiskPressure { left, needed };
    assert!(planned.waiting.iter().any(|waiting| waiting.why == why));
}

#[test]
fn a_paused_guest_is_resumed_and_the_ballast_is_back() {
    let (intents, observed) = running("vcpus: 1");
    let mut paused = with_room(&observed, 2000, 0);
    pause_in(&mut paused);
    let planned = plan(&intents, &paused, under(Pressure::Creates));
    assert_eq!(planned.vms[0].verb, Verb::Resume);
    assert_eq!(planned.vms[0].steps, [Step::ResumeGuest]);
    let size = Quantity::from_mib(256);
    assert_eq!(planned.ballast, Some(HostStep::EnsureBallast { size }));

    // Not while the room can't be told.
    paused.room = Presence::Unknown("EIO".into());
    for pressure in [Pressure::None, Pressure::Creates, Pressure::Guests] {
        let planned = plan(&intents, &paused, under(pressure));
        assert!(planned.is_empty(), "{planned:#?}");
    }
    let mut running = observed;
    running.room = Presence::Unknown("EIO".into());
    let planned = plan(&intents, &running, under(Pressure::Guests));
    assert!(planned.is_empty(), "{planned:#?}");
}

#[test]
fn a_paused_guest_shuts_down_only_where_it_may_write() {
    let (mut intents, observed) = running("vcpus: 1");
    let vm = intents.vms.values_mut().next().unwrap();
    vm.power = PowerOverride::Stopped;
    let mut paused = observed;
    pause_in(&mut paused);
    let steps = |pressure, room: Presence<Room>| {
        let observed = Observed {
            room,
            ..paused.clone()
        };
        let planned = plan(&intents, &observed, under(pressure));
        assert_eq!(planned.vms[0].verb, Verb::Stop);
        planned.vms[0].steps.clone()
    };
    let known = paused.room.clone();
    let cut_off = steps(Pressure::Guests, known.clone());
    assert!(cut_off.contains(&Step::KillVmm));
    assert!(!cut_off.contains(&Step::ResumeGuest));
    let clean = steps(Pressure::Creates, known);
    let at = |step: &dyn Fn(&Step) -> bool| clean.iter().position(step).unwrap();
    let resumed = at(&|step| *step == Step::ResumeGuest);
    let asked = at(&|step| matches!(step, Step::ShutDownGuest { .. }));
    assert!(resumed < asked && asked < at(&|step| *step == Step::KillVmm));
}

#[test]
fn a_vm_with_its_disks_starts_for_as_long_as_others_run() {
    let (mut intents, mut observed) = running("vcpus: 1");
    never_started(&mut intents);
    let off = |disk: bool| {
        let length = 1 << 30;
        let mut vm = ObservedVm::absent();
        if disk {
            vm.cow_file = Presence::Present(banger_core::observed::DiskFile { length });
        }
        vm
    };
    for (has_disk, pressure, starts) in [
        (true, Pressure::None, true),
        (true, Pressure::Creates, true),
        (true, Pressure::Guests, false),
        (false, Pressure::None, true),
        (false, Pressure::Creates, false),
        (false, Pressure::Guests, false),
    ] {
        for vm in observed.vms.values_mut() {
            *vm = off(has_disk);
        }
        let planned = plan(&intents, &observed, under(pressure));
        let verbs: Vec<Verb> = planned.vms.iter().map(|vm| vm.verb).collect();
        let expected: &[Verb] = if starts { &[Verb::Create] } else { &[] };
        assert_eq!(verbs, expected, "disk: {has_disk}, {pressure:?}");
    }
}
