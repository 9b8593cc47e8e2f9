//! Whether this host can run banger: the same requirements as `banger doctor`
//! looks at, after loading what can be loaded.

use super::layout::MODULES;
use super::program::try_run;
use crate::cli::doctor::{Check, Prove, Verdict, requirements};

/// Loads what can be loaded and answers the requirements that fail. KVM is only
/// opened: whoever installs may turn nested virtualisation on afterwards.
pub(super) fn prepare_and_check() -> Vec<Check> {
    for module in MODULES {
        // Built in, or missing: the checks tell which.
        let _ = try_run("modprobe", &["-q", module]);
    }
    requirements(Prove::ByOpening)
        .into_iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .collect()
}
