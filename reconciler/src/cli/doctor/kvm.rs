//! KVM: not the device file, which proves nothing, but a microVM that ran.

use std::fs::OpenOptions;
use std::io::ErrorKind;

use super::{Check, microvm};

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Prove {
    /// Open the device.
    ByOpening,
    /// Run a microVM for an instant.
    ByRunning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reading {
    Missing(String),
    /// This account may not open it. The VMMs' own accounts may.
    Denied,
    Opened,
    Ran,
    Failed(String),
}

pub(super) fn check(prove: Prove) -> Check {
    judge(&read(prove))
}

fn read(prove: Prove) -> Reading {
    match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Reading::Denied,
        Err(error) => Reading::Missing(error.to_string()),
        Ok(_) => match prove {
            Prove::ByOpening => Reading::Opened,
            Prove::ByRunning => match microvm::run() {
                Ok(()) => Reading::Ran,
                Err(why) => Reading::Failed(why),
            },
        },
    }
}

fn judge(reading: &Reading) -> Check {
    const NAME: &str = "KVM";
    const TURN_ON: &str = "turn on virtualisation in the firmware and load kvm_intel or kvm_amd; \
                           in a virtual machine, nested virtualisation has to be on";
    match reading {
        Reading::Missing(why) => {
            Check::fail(NAME, format!("/dev/kvm can't be opened: {why}"), TURN_ON)
        }
        Reading::Denied => Check::warn(
            NAME,
            "this account may not open /dev/kvm; VMMs run under accounts of their own, which may",
            "`sudo banger doctor` proves it by running a microVM",
        ),
        Reading::Opened => Check::pass(NAME, "/dev/kvm opens"),
        Reading::Ran => Check::pass(NAME, "a microVM ran for an instant (API version 12)"),
        Reading::Failed(why) => Check::fail(NAME, format!("no microVM runs: {why}"), TURN_ON),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{Reading, judge};

    #[test]
    fn only_what_ran_is_proved() {
        let why = || "ENOENT".to_owned();
        for (reading, verdict) in [
            (Reading::Missing(why()), Verdict::Fail),
            (Reading::Denied, Verdict::Warn),
            (Reading::Opened, Verdict::Pass),
            (Reading::Ran, Verdict::Pass),
            (Reading::Failed(why()), Verdict::Fail),
        ] {
            assert_eq!(judge(&reading).verdict, verdict, "{reading:?}");
        }
        assert!(judge(&Reading::Ran).message.contains("ran"));
        assert!(!judge(&Reading::Opened).message.contains("ran"));
    }
}
