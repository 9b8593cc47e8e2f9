//! A clean end, asked for by the host.
//!
//! ```text
//! systemd: SIGRTMIN+5 to PID 1 -> services stop -> exit initrd (leave) -> reboot
//! other:   its `reboot` program, or else at once:
//! force:   kill everything, sync, read-only, reboot     at the end of the grace period
//! ```

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::mount::{MountFlags, mount_remount};

use super::ASKED;
use crate::{log, machine};

/// There exactly where systemd is PID 1 (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";
/// Starts `reboot.target` (systemd(1), signals).
const REBOOT_TARGET: i32 = 5;
/// Other inits' own way.
const REBOOT_PROGRAMS: [&str; 2] = ["/sbin/reboot", "/usr/sbin/reboot"];
/// The exit initrd as it is seen before the pivot.
const EXIT: &str = "/run/initramfs";
/// For the kernel's emergency read-only remount, which tells nobody when it is done.
const EMERGENCY: Duration = Duration::from_millis(500);

/// Begins; forces the end after the grace period. Asking again may only
/// shorten it.
pub(super) fn begin(grace: Duration) {
    log::note(format_args!(
        "the host asks for a shutdown within {} s",
        grace.as_secs()
    ));
    if let Err(error) = fs::write(format!("{EXIT}{ASKED}"), []) {
        log::error(format_args!(
            "the shutdown will be announced once more: {error}"
        ));
    }
    let waiting = ask_init();
    thread::spawn(move || {
        if waiting {
            thread::sleep(grace);
            log::error("the grace period is over, the end is forced");
        }
        force()
    });
}

/// Whether there is an init that was asked.
fn ask_init() -> bool {
    if Path::new(SYSTEMD).is_dir() {
        let signal = nix::libc::SIGRTMIN() + REBOOT_TARGET;
        // SAFETY: kill(2) takes any number and touches no memory. nix knows no
        // real-time signals.
        return unsafe { nix::libc::kill(1, signal) } == 0;
    }
    REBOOT_PROGRAMS
        .iter()
        .any(|program| Command::new(program).stdin(Stdio::null()).spawn().is_ok())
}

/// What was written stays, whatever runs.
fn force() -> ! {
    // Everything but PID 1 and this process (kill(2)).
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    rustix::fs::sync();
    // EINVAL: there is no work disk at /root.
    let busy = ["/root", "/"].map(|at| {
        let done = mount_remount(at, MountFlags::RDONLY, "");
        !matches!(done, Ok(()) | Err(rustix::io::Errno::INVAL))
    });
    if busy.contains(&true) && fs::write("/proc/sysrq-trigger", "u").is_ok() {
        thread::sleep(EMERGENCY);
    }
    machine::end()
}
