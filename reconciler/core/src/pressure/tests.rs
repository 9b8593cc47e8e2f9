#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::api::Quantity;
use crate::observed::{Instance, Observed, ObservedVm, Presence, Vmm};

const fn mib(n: u64) -> Quantity {
    Quantity::from_mib(n)
}

const LIMITS: DiskLimits = DiskLimits {
    creates: mib(2048),
    guests: mib(512),
    hysteresis: mib(256),
    ballast: mib(256),
};

fn after(before: Pressure, headroom: u64) -> Pressure {
    before.next(mib(headroom), &LIMITS)
}

#[test]
fn a_level_begins_below_its_limit_and_ends_above_it() {
    use Pressure::{Creates, Guests, None};
    for (before, headroom, level) in [
        (None, 2048, None),
        (None, 2047, Creates),
        (None, 512, Creates),
        (None, 511, Guests),
        (Creates, 2303, Creates),
        (Creates, 2304, None),
        (Creates, 511, Guests),
        (Guests, 767, Guests),
        (Guests, 768, Creates),
        (Guests, 2304, None),
        (Guests, 0, Guests),
    ] {
        assert_eq!(after(before, headroom), level, "{before:?} at {headroom}Mi");
    }
}

#[test]
fn a_level_that_is_turned_off_is_never_reached_and_ends_at_once() {
    let off = DiskLimits {
        guests: mib(0),
        ..LIMITS
    };
    assert_eq!(Pressure::None.next(mib(0), &off), Pressure::Creates);
    assert_eq!(Pressure::Guests.next(mib(100), &off), Pressure::Creates);
    let none = DiskLimits::default();
    assert_eq!(Pressure::Guests.next(mib(0), &none), Pressure::None);
    assert!(!none.any() && LIMITS.any());
}

fn observed(room: Presence<Room>, instance: Instance) -> Observed {
    let process = banger_protocol::inventory::Process {
        pid: 7,
        start_time: 7,
    };
    let vm = ObservedVm {
        vmm: Presence::Present(Vmm {
            process,
            instance,
            executable: Presence::Absent,
        }),
        ..ObservedVm::absent()
    };
    let uid = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f".parse().unwrap();
    Observed {
        vms: BTreeMap::from([(uid, vm)]),
        room,
        ..Observed::absent("boot")
    }
}

fn room(free: u64, ballast: u64) -> Presence<Room> {
    Presence::Present(Room {
        free: mib(free),
        ballast: mib(ballast),
    })
}

#[test]
fn what_cannot_be_read_leaves_the_level_as_it_was() {
    let unknown = || Presence::Unknown("EIO".to_owned());
    let mut gauge = Gauge::default();
    gauge.read(&observed(unknown(), Instance::Running), &LIMITS);
    assert_eq!(gauge.level(), Pressure::None);
    gauge.read(&observed(room(100, 256), Instance::Running), &LIMITS);
    assert_eq!(gauge.level(), Pressure::Guests);
    gauge.read(&observed(unknown(), Instance::Paused), &LIMITS);
    assert_eq!(gauge.level(), Pressure::Guests);
    assert_eq!(gauge.peek(&unknown(), &LIMITS), Pressure::Guests);
    assert_eq!(gauge.peek(&room(9000, 0), &LIMITS), Pressure::None);
    assert_eq!(gauge.level(), Pressure::Guests, "a look changes nothing");
}

#[test]
fn a_new_daemon_learns_the_level_from_paused_guests() {
    // 700 MiB of headroom: too much to begin with, too little to end it.
    let level = |instance| {
        let mut gauge = Gauge::default();
        gauge.read(&observed(room(956, 0), instance), &LIMITS);
        gauge.level()
    };
    assert_eq!(level(Instance::Running), Pressure::Creates);
    assert_eq!(level(Instance::Paused), Pressure::Guests);
    // Only at first: afterwards a guest that isn't resumed yet says nothing.
    let mut gauge = Gauge::default();
    for free in [800, 2000, 956] {
        gauge.read(&observed(room(free, 0), Instance::Paused), &LIMITS);
    }
    assert_eq!(gauge.level(), Pressure::Creates);
}

fn level() -> impl Strategy<Value = Pressure> {
    prop_oneof![
        Just(Pressure::None),
        Just(Pressure::Creates),
        Just(Pressure::Guests)
    ]
}

prop_compose! {
    fn limits()(
        guests in 1_u64..1000, more in 0_u64..1000, hysteresis in 1_u64..500, ballast in 0_u64..500,
    ) -> DiskLimits {
        DiskLimits {
            creates: mib(guests + more),
            guests: mib(guests),
            hysteresis: mib(hysteresis),
            ballast: mib(ballast),
        }
    }
}

proptest! {
    /// More room never means more pressure; the same reading again changes nothing.
    #[test]
    fn levels_are_ordered_and_settled(
        limits in limits(), before in level(), headroom in 0_u64..3000, more in 0_u64..3000,
    ) {
        let now = before.next(mib(headroom), &limits);
        prop_assert!(before.next(mib(headroom + more), &limits) <= now);
        prop_assert_eq!(now.next(mib(headroom), &limits), now);
        // Whatever was before, the limits themselves hold.
        if mib(headroom) < limits.guests {
            prop_assert_eq!(now, Pressure::Guests);
        }
        if mib(headroom) < limits.creates {
            prop_assert!(now >= Pressure::Creates);
        }
        for level in [Pressure::Creates, Pressure::Guests] {
            prop_assert!(now < level || mib(headroom) < limits.end_of(level).unwrap());
        }
    }

    /// Readings that differ by less than the hysteresis never make a level
    /// come and go: guests aren't paused and resumed in turns.
    #[test]
    fn small_changes_never_flap(
        limits in limits(), before in level(), low in 0_u64..3000,
        readings in prop::collection::vec(0_u64..u64::MAX, 2..40),
    ) {
        let width = limits.hysteresis.mib();
        let mut levels = vec![before];
        for reading in readings {
            let last = *levels.last().unwrap();
            levels.push(last.next(mib(low + reading % width), &limits));
        }
        // The first reading may jump from anywhere.
        let moves: Vec<_> = levels[1..].windows(2).map(|pair| pair[0].cmp(&pair[1])).collect();
        let rises = moves.contains(&std::cmp::Ordering::Less);
        let falls = moves.contains(&std::cmp::Ordering::Greater);
        prop_assert!(!(rises && falls), "{levels:?}");
    }

    /// To release the ballast, and to allocate it again, is no change.
    #[test]
    fn the_ballast_does_not_count(
        limits in limits(), before in level(), free in 0_u64..3000, held in 0_u64..500,
    ) {
        let held = held.min(limits.ballast.mib());
        let with = Room { free: mib(free), ballast: mib(held) };
        let without = Room { free: mib(free + held), ballast: mib(0) };
        let level = |room: Room| before.next(room.headroom(limits.ballast), &limits);
        prop_assert_eq!(level(with), level(without));
        // And what is above a level stays above it with the whole ballast back.
        let lacking = limits.ballast.mib() - held;
        if free >= lacking {
            let whole = Room { free: mib(free - lacking), ballast: limits.ballast };
            prop_assert_eq!(level(with), level(whole));
        }
    }
}
