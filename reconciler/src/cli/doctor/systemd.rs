//! systemd with cgroup v2: VMMs and services are its units.

use std::path::Path;

use super::Check;

struct Reading {
    systemd: bool,
    cgroup2: bool,
}

pub(super) fn checks() -> Vec<Check> {
    judge(&Reading {
        // sd_booted(3)
        systemd: Path::new("/run/systemd/system").is_dir(),
        cgroup2: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
    })
}

fn judge(reading: &Reading) -> Vec<Check> {
    vec![
        if reading.systemd {
            Check::pass("systemd", "it runs this host")
        } else {
            Check::fail(
                "systemd",
                "this host wasn't booted with systemd",
                "banger's services and VMs are units of systemd; boot the host with it",
            )
        },
        if reading.cgroup2 {
            Check::pass("cgroup v2", "mounted")
        } else {
            Check::fail(
                "cgroup v2",
                "/sys/fs/cgroup is not a cgroup v2 hierarchy",
                "boot with `systemd.unified_cgroup_hierarchy=1`",
            )
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{Reading, judge};

    #[test]
    fn both_are_needed() {
        let verdicts = |systemd, cgroup2| {
            let checks = judge(&Reading { systemd, cgroup2 });
            (checks[0].verdict, checks[1].verdict)
        };
        assert_eq!(verdicts(true, true), (Verdict::Pass, Verdict::Pass));
        assert_eq!(verdicts(false, true), (Verdict::Fail, Verdict::Pass));
        assert_eq!(verdicts(true, false), (Verdict::Pass, Verdict::Fail));
    }
}
