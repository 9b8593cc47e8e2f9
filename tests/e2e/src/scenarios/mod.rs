//! What people do with banger, done for real on the disposable host.
//!
//! Each scenario makes what it needs and assumes nothing of the ones before, so
//! that any of them can run alone. It finds a saved lab (`saved.rs`), where
//! `web` and `worker` are Ready already, and whatever others left behind that
//! `Lab::state` doesn't see.

mod access;
mod bad_specs;
mod bound;
mod conformance;
mod crashes;
mod database;
mod debian;
mod deletion;
mod disk;
mod dns;
mod doctor;
mod edit;
mod editing;
mod examples;
mod files;
mod first_vm;
mod hardening;
mod images;
mod ipv6;
mod jail;
mod leftovers;
mod network;
mod own_parts;
mod power;
mod promises;
mod second_thoughts;
mod system;

use anyhow::Result;

use crate::lab::Lab;

/// One scenario.
pub struct Scenario {
    /// Its name, as `scenarios NAME` takes it.
    pub name: &'static str,
    /// What it does. An error fails it.
    pub run: fn(&mut Lab) -> Result<()>,
}

/// All of them: the long ones first, so that the hosts end together, and the short
/// ones, of which many show much the same, last.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "a_dropped_file_becomes_a_vm",
        run: first_vm::dropped_file,
    },
    Scenario {
        name: "a_restart_of_the_services_keeps_every_vm",
        run: system::restart,
    },
    Scenario {
        name: "after_a_power_cut_everything_is_back",
        run: system::power_cut,
    },
    Scenario {
        name: "an_orderly_reboot_brings_everything_back",
        run: system::reboot,
    },
    Scenario {
        name: "the_real_kernel_conforms",
        run: conformance::real_kernel,
    },
    Scenario {
        name: "a_compromised_owner_gets_nothing_beyond_the_bound",
        run: bound::helper,
    },
    Scenario {
        name: "a_hostile_jail_leads_root_nowhere",
        run: jail::hostile,
    },
    Scenario {
        name: "the_sandboxes_refuse_what_is_forbidden",
        run: hardening::sandboxes,
    },
    Scenario {
        name: "the_foreign_account_gets_nothing",
        run: access::foreign_account,
    },
    Scenario {
        name: "what_went_comes_back_and_a_vm_changes_its_name",
        run: second_thoughts::trash_and_names,
    },
    Scenario {
        name: "with_the_database_lost_vms_run_on_until_they_are_named",
        run: doctor::lost_database,
    },
    Scenario {
        name: "uninstall_leaves_nothing_but_disks",
        run: system::uninstall,
    },
    Scenario {
        name: "the_debian_package_comes_and_goes",
        run: debian::package,
    },
    Scenario {
        name: "an_image_of_ones_own_parts_boots_and_is_immutable",
        run: own_parts::immutable,
    },
    Scenario {
        name: "files_of_the_owner_come_and_others_stay",
        run: files::given,
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
        name: "a_service_that_hangs_is_replaced",
        run: crashes::hung,
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
        name: "an_unreachable_helper_changes_nothing",
        run: crashes::helper_away,
    },
    Scenario {
        name: "damaged_scratch_files_lose_nothing",
        run: crashes::scratch_files,
    },
    Scenario {
        name: "a_damaged_database_destroys_nothing",
        run: database::damaged,
    },
    Scenario {
        name: "an_unwritable_database_destroys_nothing",
        run: database::unwritable,
    },
    Scenario {
        name: "a_stale_tap_does_not_poison_the_next_boot",
        run: leftovers::stale_tap,
    },
    Scenario {
        name: "a_write_survives_stop_and_start",
        run: power::write_then_stop,
    },
    Scenario {
        name: "a_full_disk_pauses_guests_and_loses_nothing",
        run: disk::fills_up,
    },
    Scenario {
        name: "a_disk_that_is_full_at_once_costs_no_guest_its_disk",
        run: disk::full_at_once,
    },
    Scenario {
        name: "two_vms_reach_each_other_and_nat_is_obeyed",
        run: network::guests_and_nat,
    },
    Scenario {
        name: "names_of_vms_resolve_and_others_are_forwarded",
        run: dns::names,
    },
    Scenario {
        name: "network_policies_are_obeyed_live",
        run: network::policies,
    },
    Scenario {
        name: "udp_is_published_and_firewalls_are_told",
        run: network::udp_and_firewalls,
    },
    Scenario {
        name: "guests_have_ipv6_too",
        run: ipv6::guests,
    },
    Scenario {
        name: "a_program_that_was_replaced_starts_no_vm",
        run: system::replaced_program,
    },
    Scenario {
        name: "a_deleted_disk_leaves_no_loop_and_no_busy_dm",
        run: leftovers::deleted_disk,
    },
    Scenario {
        name: "a_deleted_file_leaves_nothing",
        run: deletion::file,
    },
    Scenario {
        name: "an_image_that_nothing_needs_is_collected",
        run: images::unneeded,
    },
    Scenario {
        name: "every_example_becomes_ready",
        run: examples::all,
    },
    Scenario {
        name: "vims_rename_save_keeps_the_vm",
        run: editing::vim,
    },
    Scenario {
        name: "a_truncating_editor_keeps_the_vm",
        run: editing::truncate_and_write,
    },
    Scenario {
        name: "sed_in_place_keeps_the_vm",
        run: editing::sed,
    },
    Scenario {
        name: "a_slow_copy_of_many_documents_loses_none",
        run: editing::slow_copy,
    },
    Scenario {
        name: "a_branch_with_half_of_the_files_and_back_keeps_all",
        run: editing::git_checkout,
    },
    Scenario {
        name: "git_mv_with_a_typo_keeps_the_vm",
        run: editing::git_mv_with_a_typo,
    },
    Scenario {
        name: "links_of_dotfile_tools_are_followed",
        run: editing::links,
    },
    Scenario {
        name: "chezmoi_s_renames_keep_the_vm",
        run: editing::chezmoi,
    },
    Scenario {
        name: "an_unmounted_directory_deletes_nothing",
        run: editing::unmounted,
    },
    Scenario {
        name: "two_files_with_one_vm_are_both_refused",
        run: editing::declared_twice,
    },
    Scenario {
        name: "a_renamed_file_changes_nothing",
        run: editing::renamed_file,
    },
];
