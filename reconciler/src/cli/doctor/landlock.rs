//! Landlock: whether the kernel confines what the daemon writes. Only the daemon
//! knows, since only a process that asked for it is confined.

use super::Check;
use crate::sandbox::Landlock;

pub(super) fn judge(told: Option<&Landlock>) -> Check {
    const NAME: &str = "Landlock";
    let warn = |message: &str, remedy: &str| Check::warn(NAME, message, remedy);
    match told {
        None => Check::skip(NAME, "the daemon is older than this and doesn't tell"),
        Some(Landlock::Full { abi }) => Check::pass(
            NAME,
            format!("the kernel lets bangerd write its own directories alone (ABI {abi})"),
        ),
        Some(Landlock::Partial { abi }) => Check::pass(
            NAME,
            format!(
                "the kernel lets bangerd write its own directories alone, as far as its Landlock \
                 goes (ABI {abi}; from 6 on it does all, Linux 6.12)"
            ),
        ),
        Some(Landlock::TooOld {}) => warn(
            "the kernel doesn't confine what bangerd writes: its Landlock can't move files (ABI 1)",
            "a kernel from Linux 5.19 on",
        ),
        Some(Landlock::NotEnabled {}) => warn(
            "the kernel doesn't confine what bangerd writes: it has Landlock, not turned on",
            "boot with `landlock` in the list of `lsm=`; /sys/kernel/security/lsm shows it as it is",
        ),
        Some(Landlock::NotBuilt {}) => warn(
            "the kernel doesn't confine what bangerd writes: it has no Landlock",
            "a kernel with CONFIG_SECURITY_LANDLOCK=y, such as Debian's, and `landlock` in its \
             `lsm=`; in a container the calls of landlock(7) have to be allowed",
        ),
        Some(Landlock::Refused { why }) => warn(
            &format!("the kernel doesn't confine what bangerd writes: {why}"),
            "`journalctl -u bangerd` says more; `sudo banger system install` renews the unit",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Pass, Skip, Warn};
    use super::judge;
    use crate::sandbox::Landlock;

    #[test]
    fn what_is_missing_has_its_own_remedy() {
        let refused = Landlock::Refused {
            why: "E2BIG".into(),
        };
        for (told, verdict, word) in [
            (None, Skip, "older"),
            (Some(Landlock::Full { abi: 7 }), Pass, "ABI 7"),
            (Some(Landlock::Partial { abi: 2 }), Pass, "ABI 2"),
            (Some(Landlock::TooOld {}), Warn, "5.19"),
            (Some(Landlock::NotEnabled {}), Warn, "lsm="),
            (
                Some(Landlock::NotBuilt {}),
                Warn,
                "CONFIG_SECURITY_LANDLOCK",
            ),
            (Some(refused), Warn, "E2BIG"),
        ] {
            let check = judge(told.as_ref());
            assert_eq!(check.verdict, verdict, "{told:?}");
            let remedy = check.remedy.unwrap_or_default();
            let text = format!("{} {remedy}", check.message);
            assert!(text.contains(word), "{text}");
        }
    }
}
