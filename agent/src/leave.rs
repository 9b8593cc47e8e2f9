//! PID 1 of the exit initrd: systemd has stopped everything and pivoted here,
//! the image's root is at `/oldroot`.
//!
//! This is why a `poweroff` in a guest ends its VMM, and why the host knows
//! that it was meant: the announcement is the last thing but the reboot.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use banger_agent_protocol::{Boot, Leaving};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::Pid;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};

use crate::{host, log, machine, serve};

/// How long the host may take to hear of it.
const DEADLINE: Duration = Duration::from_secs(3);
const OLD_ROOT: &str = "/oldroot";

/// Ends the machine; `verb` is systemd's: `poweroff`, `halt`, `reboot`, `kexec`.
pub(crate) fn run(verb: &OsStr) -> ! {
    // Nothing may keep the root busy; the agent itself does.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while wait().is_ok() {}
    unmount_old_root();
    if !Path::new(serve::ASKED).exists() {
        let how = if verb == "reboot" || verb == "kexec" {
            Leaving::Reboot
        } else {
            Leaving::Poweroff
        };
        if let Err(error) = host::tell(&Boot::Leaving { how }, DEADLINE) {
            log::error(format_args!("the host could not be told: {error}"));
        }
    }
    machine::end()
}

fn unmount_old_root() {
    rustix::fs::sync();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for at in beneath(&mounts, OLD_ROOT) {
        if unmount(at.as_str(), UnmountFlags::empty()).is_ok() {
            continue;
        }
        // The kernel closes the journal of a file system that it makes read-only.
        match mount_remount(at.as_str(), MountFlags::RDONLY, "") {
            Ok(()) => log::note(format_args!("{at} is busy and was made read-only")),
            Err(error) => log::error(format_args!("{at} stays mounted: {error}")),
        }
    }
}

/// Mount points at and beneath a directory, the last mounted first (proc(5)).
fn beneath(mountinfo: &str, directory: &str) -> Vec<String> {
    let inside = |at: &String| {
        at.strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let points = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape);
    let mut found: Vec<String> = points.filter(inside).collect();
    found.reverse();
    found
}

/// Blank, tab, line end and backslash stand as octal numbers in mountinfo.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::beneath;

    #[test]
    fn what_was_mounted_last_goes_first() {
        let mountinfo = "\
1 1 0:2 / / rw - rootfs rootfs rw
20 1 254:0 / /oldroot rw,relatime shared:1 - ext4 /dev/vda rw
21 20 254:16 / /oldroot/root rw - ext4 /dev/vdb rw
22 20 0:30 / /oldroot/with\\040blank rw - tmpfs tmpfs rw
23 1 0:31 / /oldroots rw - tmpfs tmpfs rw
";
        assert_eq!(
            beneath(mountinfo, "/oldroot"),
            ["/oldroot/with blank", "/oldroot/root", "/oldroot"]
        );
        assert!(beneath("nonsense\n\n", "/oldroot").is_empty());
    }
}
