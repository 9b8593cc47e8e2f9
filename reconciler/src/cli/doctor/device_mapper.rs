//! device-mapper with its snapshot target: root disks are snapshots.

use std::path::Path;

use super::Check;
use crate::cli::system::program::try_run;

struct Reading {
    control: bool,
    /// `dmsetup targets`; `None` where this account may not ask.
    targets: Option<String>,
}

pub(super) fn check() -> Check {
    judge(&Reading {
        control: Path::new("/dev/mapper/control").exists(),
        targets: try_run("dmsetup", &["targets"]),
    })
}

fn judge(reading: &Reading) -> Check {
    const NAME: &str = "device-mapper";
    if !reading.control {
        return Check::fail(
            NAME,
            "/dev/mapper/control isn't there",
            "load its modules: `sudo modprobe -a dm_mod dm_snapshot`",
        );
    }
    let Some(targets) = &reading.targets else {
        // Only root may ask for the targets; the device's word has to do.
        return Check::pass(NAME, "/dev/mapper/control is there");
    };
    let version = targets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("snapshot")).then(|| words.next().unwrap_or_default().to_owned())
    });
    match version {
        Some(version) => Check::pass(NAME, format!("snapshot target {version}")),
        None => Check::fail(
            NAME,
            "it has no snapshot target",
            "load its module: `sudo modprobe dm_snapshot`; some cloud kernels leave it out",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{Reading, judge};

    #[test]
    fn the_snapshot_target_is_needed() {
        let of = |control, targets: Option<&str>| {
            judge(&Reading {
                control,
                targets: targets.map(str::to_owned),
            })
        };
        assert_eq!(of(false, None).verdict, Verdict::Fail);
        assert_eq!(of(true, None).verdict, Verdict::Pass);
        let origin = "snapshot-origin  v1.9.0\nlinear v1.4.0\n";
        assert_eq!(of(true, Some(origin)).verdict, Verdict::Fail);
        let both = of(true, Some("snapshot         v1.16.0\nlinear v1.4.0\n"));
        assert_eq!(both.message, "snapshot target v1.16.0");
    }
}
