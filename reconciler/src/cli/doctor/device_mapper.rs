//! device-mapper with its snapshot target: root disks are snapshots.

use super::Check;
use super::devices::{Node, open};
use crate::cli::system::program::try_run;

struct Reading {
    control: Node,
    /// `dmsetup targets`; `None` where this account may not ask.
    targets: Option<String>,
}

pub(super) fn check() -> Check {
    judge(&Reading {
        control: open("/dev/mapper/control"),
        targets: try_run("dmsetup", &["targets"]),
    })
}

fn judge(reading: &Reading) -> Check {
    const NAME: &str = "device-mapper";
    const LOAD: &str = "load its modules: `sudo modprobe -a dm_mod dm_snapshot`; \
                        some cloud kernels leave them out";
    if let Node::Missing(why) = &reading.control {
        let message = format!("/dev/mapper/control can't be opened: {why}");
        return Check::fail(NAME, message, LOAD);
    }
    let Some(targets) = &reading.targets else {
        // Only root may ask for the targets; the device's word has to do.
        return if reading.control == Node::Denied {
            Check::pass(
                NAME,
                "/dev/mapper/control is there; only root can see its targets",
            )
        } else {
            Check::fail(NAME, "`dmsetup targets` can't list its targets", LOAD)
        };
    };
    let version = targets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("snapshot")).then(|| words.next().unwrap_or_default().to_owned())
    });
    match version {
        Some(version) => Check::pass(NAME, format!("snapshot target {version}")),
        None => Check::fail(NAME, "it has no snapshot target", LOAD),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{Node, Reading, judge};

    #[test]
    fn the_snapshot_target_is_needed() {
        let of = |control, targets: Option<&str>| {
            judge(&Reading {
                control,
                targets: targets.map(str::to_owned),
            })
        };
        // A node without a driver behind it is no device-mapper.
        let missing = Node::Missing("No such device".into());
        assert_eq!(of(missing, None).verdict, Verdict::Fail);
        assert_eq!(of(Node::Denied, None).verdict, Verdict::Pass);
        assert_eq!(of(Node::Opened, None).verdict, Verdict::Fail);
        let origin = "snapshot-origin  v1.9.0\nlinear v1.4.0\n";
        assert_eq!(of(Node::Opened, Some(origin)).verdict, Verdict::Fail);
        let both = of(
            Node::Opened,
            Some("snapshot         v1.16.0\nlinear v1.4.0\n"),
        );
        assert_eq!(both.message, "snapshot target v1.16.0");
    }
}
