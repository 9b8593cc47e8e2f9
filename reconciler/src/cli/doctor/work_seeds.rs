//! Work disks are made anew, which only does for a start in an instant as long
//! as it takes no time: tried here as the daemon does it.

use std::process::Output;
use std::time::{Duration, Instant};

use super::Check;
use crate::act::work_disk;

const NAME: &str = "work seeds";

/// The size of a work disk in the examples.
const SIZE: u64 = 8 << 30;

/// What a start should not notice.
const LONG: Duration = Duration::from_secs(2);

pub(super) fn check() -> Check {
    judge(make())
}

fn make() -> Result<(Output, Duration), std::io::Error> {
    let file = tempfile::NamedTempFile::new()?;
    file.as_file().set_len(SIZE)?;
    let start = Instant::now();
    let output = work_disk::mkfs(file.path()).output()?;
    Ok((output, start.elapsed()))
}

fn judge(made: Result<(Output, Duration), std::io::Error>) -> Check {
    let remedy = "see what `mkfs.ext4` of e2fsprogs says of a file in the temporary directory";
    match made {
        Err(error) => Check::warn(
            NAME,
            format!("an empty work disk could not be tried: {error}"),
            remedy,
        ),
        Ok((output, _)) if !output.status.success() => Check::fail(
            NAME,
            format!(
                "mkfs.ext4 makes no work disk: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            remedy,
        ),
        Ok((_, took)) => {
            let message = format!(
                "none needed: an empty work disk of 8 GiB is made in {} ms",
                took.as_millis()
            );
            match took > LONG {
                true => Check::warn(NAME, message, "VMs with a work disk start later by as much"),
                false => Check::pass(NAME, message),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{ExitStatus, Output};
    use std::time::Duration;

    use super::super::Verdict;
    use super::{judge, make};

    fn ended(status: i32, stderr: &str) -> Output {
        Output {
            status: ExitStatus::from_raw(status),
            stdout: Vec::new(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn a_work_disk_is_really_made() {
        let check = judge(make());
        assert!(check.message.contains("8 GiB is made"), "{check:?}");
    }

    #[test]
    fn what_keeps_it_is_told() {
        let short = Duration::from_millis(20);
        let verdict = |made| judge(made).verdict;
        assert_eq!(verdict(Ok((ended(0, ""), short))), Verdict::Pass);
        assert_eq!(verdict(Ok((ended(0, ""), short * 500))), Verdict::Warn);
        assert_eq!(verdict(Err(io::ErrorKind::NotFound.into())), Verdict::Warn);
        let failed = judge(Ok((ended(256, "no such feature\n"), short)));
        assert_eq!(failed.verdict, Verdict::Fail);
        assert!(failed.message.ends_with(": no such feature"), "{failed:?}");
    }
}
