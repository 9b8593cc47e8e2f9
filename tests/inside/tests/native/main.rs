//! The cases that every host is held to, on this machine's kernel: the helper
//! serves as root in a network namespace of its own, and the real host asks it
//! as an owner without privileges. What the machine lacks is skipped by name.
#![allow(clippy::unwrap_used, missing_docs)]

mod machine;
mod site;

use banger_testkit::conformance::{Case, Part, Rule};

macro_rules! cases {
    ($($name:ident: $rule:ident, $part:ident;)*) => {
        $(#[test]
        fn $name() {
            site::native(stringify!($name), Case(Rule::$rule, Part::$part));
        })*

        const TRIED: &[Case] = &[$(Case(Rule::$rule, Part::$part)),*];
    };
}

cases! {
    disks_may_be_made_again: StepsMayBeRepeated, Disks;
    a_tap_may_be_made_again: StepsMayBeRepeated, Tap;
    a_vm_may_be_made_again: StepsMayBeRepeated, Vm;
    a_vmm_may_be_started_again: StepsMayBeRepeated, Vmm;
    disks_are_seen: StepsAreSeen, Disks;
    a_tap_is_seen: StepsAreSeen, Tap;
    a_vm_is_seen: StepsAreSeen, Vm;
    a_vmm_is_seen: StepsAreSeen, Vmm;
    absent_disks_may_be_removed: RemovalOfTheAbsentSucceeds, Disks;
    an_absent_tap_may_be_removed: RemovalOfTheAbsentSucceeds, Tap;
    an_absent_vm_may_be_removed: RemovalOfTheAbsentSucceeds, Vm;
    loops_below_a_snapshot_stay: BusyDevicesStay, Root;
    no_loop_over_a_missing_file: NothingStandsOnNothing, Disks;
    no_snapshot_without_loops: NothingStandsOnNothing, Root;
    no_vmm_without_a_disk: NothingStandsOnNothing, Vm;
    a_disk_only_grows: DisksOnlyGrow, Disks;
    a_teardown_leaves_no_disks: TeardownLeavesNothing, Disks;
    a_teardown_leaves_no_tap: TeardownLeavesNothing, Tap;
    a_teardown_leaves_no_vm: TeardownLeavesNothing, Vm;
    a_teardown_leaves_no_vmm: TeardownLeavesNothing, Vmm;
    disks_of_others_stay: OthersStay, Disks;
    taps_of_others_stay: OthersStay, Tap;
    other_vms_stay: OthersStay, Vm;
    other_vmms_stay: OthersStay, Vmm;
    a_trashed_disk_is_replaced: TrashedDisksAreReplaced, Disks;
    dropped_disks_come_back: DroppedDisksComeBack, Disks;
    a_record_is_renewed: RecordsAreRenewed, Disks;
    a_tap_has_one_owner: TapsHaveOneOwner, Tap;
    the_bridge_may_be_made_again: NetworkMayBeRepeated, Bridge;
    the_filter_may_be_made_again: NetworkMayBeRepeated, Filter;
    a_pool_may_be_filled_again: NetworkMayBeRepeated, Pool;
}

macro_rules! severed {
    ($($name:ident: $rule:ident, $part:ident;)*) => {
        $(#[test]
        fn $name() {
            site::severed(stringify!($name), Case(Rule::$rule, Part::$part));
        })*
    };
}

severed! {
    disks_come_and_go_though_the_helper_dies: TeardownLeavesNothing, Disks;
    a_root_disk_comes_and_goes_though_the_helper_dies: BusyDevicesStay, Root;
    a_tap_comes_and_goes_though_the_helper_dies: TeardownLeavesNothing, Tap;
    a_bridge_is_made_though_the_helper_dies: NetworkMayBeRepeated, Bridge;
    a_filter_is_made_though_the_helper_dies: NetworkMayBeRepeated, Filter;
    a_pool_is_filled_though_the_helper_dies: NetworkMayBeRepeated, Pool;
}

/// A case that is new has no test of its own above.
#[test]
fn every_case_is_tried_natively() {
    assert_eq!(TRIED, Case::ALL);
}
