//! What lets one guest learn of another, or leaves its memory on a disk
//! (Firecracker, docs/prod-host-setup.md): SMT, KSM, swap.

use super::Check;

struct Reading {
    /// `/sys/devices/system/cpu/smt/active`.
    smt: Option<String>,
    /// `/sys/kernel/mm/ksm/run`.
    ksm: Option<String>,
    /// `/proc/swaps`.
    swaps: Option<String>,
}

pub(super) fn checks() -> Vec<Check> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    judge(&Reading {
        smt: read("/sys/devices/system/cpu/smt/active"),
        ksm: read("/sys/kernel/mm/ksm/run"),
        swaps: read("/proc/swaps"),
    })
}

fn judge(reading: &Reading) -> Vec<Check> {
    vec![
        match reading.smt.as_deref().map(str::trim) {
            None => Check::skip("SMT", "the kernel doesn't tell"),
            Some("0") => Check::pass("SMT", "off"),
            Some(_) => Check::warn(
                "SMT",
                "on: guests that share a core can learn of one another",
                "for guests that don't trust each other boot with `nosmt`",
            ),
        },
        match reading.ksm.as_deref().map(str::trim) {
            None => Check::pass("KSM", "this kernel has none"),
            Some("1") => Check::warn(
                "KSM",
                "on: guests can learn which pages others have",
                "`echo 2 | sudo tee /sys/kernel/mm/ksm/run`",
            ),
            Some(_) => Check::pass("KSM", "off"),
        },
        match swaps(reading.swaps.as_deref()) {
            None => Check::skip("swap", "the kernel doesn't tell"),
            Some(on) if on.is_empty() => Check::pass("swap", "off"),
            Some(on) => Check::warn(
                "swap",
                format!("{} may hold guests' memory", on.join(", ")),
                "`sudo swapoff -a`, or encrypt it",
            ),
        },
    ]
}

/// What is swapped to (proc_swaps(5)): a heading, then one a line.
fn swaps(table: Option<&str>) -> Option<Vec<&str>> {
    let lines = table?.lines().skip(1);
    Some(
        lines
            .filter_map(|line| line.split_whitespace().next())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Pass, Skip, Warn};
    use super::{Reading, judge};

    #[test]
    fn what_is_on_is_warned_of() {
        let verdicts = |smt: Option<&str>, ksm: Option<&str>, swaps: Option<&str>| {
            let checks = judge(&Reading {
                smt: smt.map(str::to_owned),
                ksm: ksm.map(str::to_owned),
                swaps: swaps.map(str::to_owned),
            });
            checks.iter().map(|it| it.verdict).collect::<Vec<_>>()
        };
        let none = "Filename\tType\tSize\tUsed\tPriority\n";
        let some = format!("{none}/dev/sda2 partition 1 0 -2\n");
        assert_eq!(verdicts(Some("0\n"), Some("0\n"), Some(none)), [Pass; 3]);
        assert_eq!(verdicts(Some("1\n"), Some("1\n"), Some(&some)), [Warn; 3]);
        assert_eq!(verdicts(None, None, None), [Skip, Pass, Skip]);
    }
}
