//! Limits: open files and inotify, which the daemon's watches and sockets use.

use super::Check;

/// What the daemon wants at least; its unit raises the limit of open files itself.
const FILES: u64 = 65_536;
const WATCHES: u64 = 8_192;
const INSTANCES: u64 = 64;

struct Reading {
    /// `/proc/sys/fs/nr_open`, the ceiling of any process's limit.
    nr_open: Option<u64>,
    /// `/proc/sys/fs/file-nr`: open in all, and how many may be.
    files: Option<(u64, u64)>,
    watches: Option<u64>,
    instances: Option<u64>,
}

pub(super) fn check() -> Check {
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let number = |path: &str| text(path)?.trim().parse().ok();
    judge(&Reading {
        nr_open: number("/proc/sys/fs/nr_open"),
        files: text("/proc/sys/fs/file-nr").and_then(|text| file_nr(&text)),
        watches: number("/proc/sys/fs/inotify/max_user_watches"),
        instances: number("/proc/sys/fs/inotify/max_user_instances"),
    })
}

/// Three numbers: allocated, unused (always 0), the maximum (proc_sys_fs(5)).
fn file_nr(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let open = numbers.next()?.ok()?;
    Some((open, numbers.nth(1)?.ok()?))
}

fn judge(reading: &Reading) -> Check {
    const NAME: &str = "limits";
    if let Some((open, most)) = reading.files
        && open > most / 10 * 9
    {
        let message = format!("{open} of {most} files that this host may have open are open");
        return Check::warn(NAME, message, "`sudo sysctl fs.file-max=` a higher number");
    }
    for (name, value, least) in [
        ("fs.nr_open", reading.nr_open, FILES),
        ("fs.inotify.max_user_watches", reading.watches, WATCHES),
        (
            "fs.inotify.max_user_instances",
            reading.instances,
            INSTANCES,
        ),
    ] {
        if let Some(value) = value.filter(|value| *value < least) {
            return Check::warn(
                NAME,
                format!("{name} is {value}, which is few"),
                format!("`sudo sysctl {name}={least}`, and the same in /etc/sysctl.d"),
            );
        }
    }
    Check::pass(NAME, "open files and inotify watches are enough")
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{Reading, file_nr, judge};

    fn enough() -> Reading {
        Reading {
            nr_open: Some(1 << 20),
            files: Some((1000, 1 << 20)),
            watches: Some(1 << 20),
            instances: Some(128),
        }
    }

    #[test]
    fn few_are_warned_of_by_name() {
        assert_eq!(judge(&enough()).verdict, Verdict::Pass);
        let few = judge(&Reading {
            watches: Some(100),
            ..enough()
        });
        assert_eq!(few.verdict, Verdict::Warn);
        assert!(few.message.contains("max_user_watches is 100"));
        let full = judge(&Reading {
            files: Some((950, 1000)),
            ..enough()
        });
        assert_eq!(full.verdict, Verdict::Warn);
        assert_eq!(
            file_nr("1632\t0\t9223372036854775807\n"),
            Some((1632, i64::MAX as u64))
        );
    }
}
