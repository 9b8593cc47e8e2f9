//! What people do with banger, done for real on the disposable host.
//!
//! Each scenario makes what it needs and assumes nothing of the ones before,
//! so that any of them can run alone, or again on a fresh host. They share a
//! host, one after another, because making one costs half a minute.

mod access;
mod bad_specs;
mod crashes;
mod deletion;
mod doctor;
mod edit;
mod first_vm;
mod network;
mod power;

use anyhow::Result;

use crate::lab::Lab;

/// One scenario.
pub struct Scenario {
    /// Its name, as `scenarios NAME` takes it.
    pub name: &'static str,
    /// What it does. An error fails it.
    pub run: fn(&mut Lab) -> Result<()>,
}

/// All of them, in an order that makes few guests boot.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "a_dropped_file_becomes_a_vm",
        run: first_vm::dropped_file,
    },
    Scenario {
        name: "the_foreign_account_gets_nothing",
        run: access::foreign_account,
    },
    Scenario {
        name: "bad_specs_harm_no_running_vm",
        run: bad_specs::harm_nothing,
    },
    Scenario {
        name: "an_edit_of_vcpus_waits_for_a_restart",
        run: edit::vcpus,
    },
    Scenario {
        name: "killing_bangerd_keeps_the_vm",
        run: crashes::daemon,
    },
    Scenario {
        name: "killing_the_helper_keeps_the_vm",
        run: crashes::helper,
    },
    Scenario {
        name: "killing_the_vmm_creates_it_again",
        run: crashes::vmm,
    },
    Scenario {
        name: "a_write_survives_stop_and_start",
        run: power::write_then_stop,
    },
    Scenario {
        name: "two_vms_reach_each_other_and_nat_is_obeyed",
        run: network::guests_and_nat,
    },
    Scenario {
        name: "a_deleted_file_leaves_nothing",
        run: deletion::file,
    },
    Scenario {
        name: "with_the_database_lost_vms_run_on_until_they_are_named",
        run: doctor::lost_database,
    },
];
