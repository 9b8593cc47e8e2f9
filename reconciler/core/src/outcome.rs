//! What a finished step, a failure or a success does to an intent. Pure; the
//! store keeps the result.

use crate::api::virtual_machine::RunPolicy;
use crate::intent::{Applied, Backoff, ImageIntent, Imported, Started, VmIntent};
use crate::plan::{Ending, LONGEST_BACKOFF_MS, Step};

/// When something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The host's boot id.
    pub boot_id: String,
    /// Milliseconds since that boot.
    pub boot_ms: u64,
}

/// The first back-off after a repeated crash.
const FIRST_BACKOFF_MS: u64 = 10_000;
/// A VM that ran for so long starts its crash count anew.
const STEADY_MS: u64 = 600_000;

/// Takes a step that succeeded into the intent.
/// Answers whether anything changed, which must then be saved before the next step.
pub fn after_step(vm: &mut VmIntent, step: &Step, moment: &Moment) -> bool {
    match step {
        Step::PinImage { image } => vm.image = Some(image.clone()),
        Step::BootGuest { applied } => {
            vm.applied = Some(Applied::clone(applied));
            // Each confirmation was for one replacement, and that is done.
            vm.confirmations.clear();
            vm.started = Some(Started {
                boot_id: moment.boot_id.clone(),
                boot_ms: moment.boot_ms,
            });
        }
        Step::RecordStart { applied } => record_start(vm, applied, moment),
        Step::UpdateGuest => {
            if let Some(applied) = &mut vm.applied {
                let (now, wanted) = (&mut applied.spec, &vm.spec);
                now.ssh_authorized_keys
                    .clone_from(&wanted.ssh_authorized_keys);
                now.file_sync.clone_from(&wanted.file_sync);
            }
        }
        Step::RestoreDisks => vm.restoring = false,
        Step::RecordExit { ending } => record_exit(vm, *ending, moment),
        _ => return false,
    }
    true
}

/// A start that wasn't written down. What is known of the same start is newer
/// than what stands beside the disks.
fn record_start(vm: &mut VmIntent, applied: &Applied, moment: &Moment) {
    let known = vm.applied.as_ref();
    if !known.is_some_and(|known| known.is_same_start(applied)) {
        vm.applied = Some(applied.clone());
        // As after every start: what was confirmed before it is done, or out of date.
        vm.confirmations.clear();
    }
    if let Some(known) = &mut vm.applied {
        known.follow(&vm.spec);
    }
    vm.generation = vm.generation.max(applied.generation);
    // Or the next restart that is asked for would count as honoured.
    vm.restart_token = vm.restart_token.max(applied.restart_token);
    // The root disk lies over it.
    vm.image = Some(applied.image.clone());
    vm.started = Some(Started {
        boot_id: moment.boot_id.clone(),
        boot_ms: moment.boot_ms,
    });
}

fn record_exit(vm: &mut VmIntent, ending: Ending, moment: &Moment) {
    let ran_ms = vm.started.take().map_or(0, |started| {
        if started.boot_id == moment.boot_id {
            moment.boot_ms.saturating_sub(started.boot_ms)
        } else {
            0
        }
    });
    match ending {
        Ending::Asked => return,
        Ending::Announced => {
            vm.completed = vm.spec.run_policy == RunPolicy::OnFailure;
            return;
        }
        Ending::Unexpected => {}
    }
    if ran_ms >= STEADY_MS {
        vm.crash = Backoff::default();
    }
    // The first restart comes at once; only a repeated crash waits.
    let delay = delay_ms(vm.crash.failures);
    vm.crash.failures = vm.crash.failures.saturating_add(1);
    vm.crash.not_before_ms = moment.boot_ms + delay;
}

/// 0, 10 s, 20 s, 40 s, … 5 min.
fn delay_ms(failures: u32) -> u64 {
    match failures {
        0 => 0,
        n => FIRST_BACKOFF_MS
            .saturating_mul(1 << (n - 1).min(10))
            .min(LONGEST_BACKOFF_MS),
    }
}

/// Counts a failed action; the next try is due after 1 s, 2 s, 4 s, … 5 min.
pub fn after_failure(backoff: &mut Backoff, boot_ms: u64) {
    let delay = 1000u64
        .saturating_mul(1 << backoff.failures.min(10))
        .min(LONGEST_BACKOFF_MS);
    backoff.failures = backoff.failures.saturating_add(1);
    backoff.not_before_ms = boot_ms + delay;
}

/// A chain that ran to its end clears the count.
pub fn after_success(backoff: &mut Backoff) {
    *backoff = Backoff::default();
}

/// Takes a finished import into the intent.
pub fn after_import(image: &mut ImageIntent, imported: Imported) {
    image.imported = Some(imported);
    image.error = Backoff::default();
}
