//! The daemon and the helper, as the daemon sees it: both answer, and all are
//! of one version; and what the kernel lets the daemon do.

use banger_protocol::version;

use super::{Check, landlock};
use crate::cli::context::Context;
use crate::client::CallError;
use crate::client::call::Versions;

/// The checks, and whether the daemon can be asked more.
pub(super) fn checks(context: &Context, installed: bool) -> (Vec<Check>, bool) {
    let answer = context.daemon.version();
    let answers = answer.is_ok();
    (
        judge(&answer, installed, env!("CARGO_PKG_VERSION")),
        answers,
    )
}

fn judge(answer: &Result<Versions, CallError>, installed: bool, own: &str) -> Vec<Check> {
    let versions = match answer {
        Ok(versions) => versions,
        Err(CallError::NoSocket(_)) if !installed => {
            return vec![Check::skip("daemon", "banger isn't installed on this host")];
        }
        Err(error @ CallError::Denied(_)) => {
            return vec![Check::warn(
                "daemon",
                error.to_string(),
                "run it as the account that banger was installed for, or as root",
            )];
        }
        Err(error) => {
            return vec![Check::fail(
                "daemon",
                error.to_string(),
                "`journalctl -u bangerd` says why; `sudo banger system restart`",
            )];
        }
    };
    let simulated = if versions.simulated {
        ", on a simulated host"
    } else {
        ""
    };
    let daemon = format!("{}{simulated}", versions.daemon);
    let daemon = if versions.daemon == own {
        Check::pass("daemon", daemon)
    } else {
        Check::warn(
            "daemon",
            format!("{daemon}, but this program is {own}"),
            "`sudo banger system install` updates it; VMs keep running",
        )
    };
    let spoken = format!("{}.{}", version::CURRENT.major, version::CURRENT.minor);
    let helper = match &versions.helper {
        Ok(helper) if versions.simulated || *helper == spoken => {
            Check::pass("helper", format!("protocol {helper}"))
        }
        Ok(helper) => Check::warn(
            "helper",
            format!("protocol {helper}, but this program speaks {spoken}"),
            "`sudo banger system install` brings both to one version; VMs keep running",
        ),
        Err(why) => Check::fail(
            "helper",
            why.clone(),
            "`sudo systemctl start banger-helper.socket`; `journalctl -u banger-helper` says more",
        ),
    };
    vec![daemon, helper, landlock::judge(versions.landlock.as_ref())]
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Fail, Pass, Skip, Warn};
    use super::judge;
    use crate::client::CallError;
    use crate::client::call::Versions;
    use crate::sandbox::Landlock;

    fn verdicts(answer: Result<Versions, CallError>, installed: bool) -> Vec<Verdict> {
        let checks = judge(&answer, installed, "0.1.0");
        checks.iter().map(|it| it.verdict).collect()
    }

    #[test]
    fn versions_and_silence_are_told_apart() {
        let versions = |daemon: &str, helper| Versions {
            daemon: daemon.into(),
            helper,
            simulated: false,
            landlock: Some(Landlock::Full { abi: 6 }),
        };
        let good = || {
            let version = banger_protocol::version::CURRENT;
            Ok(format!("{}.{}", version.major, version.minor))
        };
        assert_eq!(verdicts(Ok(versions("0.1.0", good())), true), [Pass; 3]);
        let told = verdicts(Ok(versions("0.0.9", good())), true);
        assert_eq!(told, [Warn, Pass, Pass]);
        let other = Ok("1.0".to_owned());
        let told = verdicts(Ok(versions("0.1.0", other)), true);
        assert_eq!(told, [Pass, Warn, Pass]);
        let dead = Err("no socket".to_owned());
        let told = verdicts(Ok(versions("0.1.0", dead)), true);
        assert_eq!(told, [Pass, Fail, Pass]);
        let none = || Err(CallError::NoSocket("/s".into()));
        assert_eq!(verdicts(none(), false), [Skip]);
        assert_eq!(verdicts(none(), true), [Fail]);
        assert_eq!(verdicts(Err(CallError::Denied("/s".into())), true), [Warn]);
    }
}
