//! The guest's agent: one static program in three roles.
//!
//! ```text
//! /init of the boot initrd, PID 1    boot: modules, host's word, network, disks -> the image's init
//!   `- @banger-agent                 serve: readiness, pings, keys, clock, clean shutdown; until the end
//! /shutdown of the exit initrd,PID 1 leave: unmount, tell the host, reboot
//! ```
//!
//! Guarantees: nothing in the image can lead a write out of its root; a boot
//! that can't go on says so to the host and on the console, and ends the machine.
//! Assumes Linux 5.6 or newer (`openat2`), and that the host can be trusted.

mod boot;
mod fault;
mod guest;
mod host;
mod leave;
mod log;
mod machine;
mod serve;

use std::process::ExitCode;

/// The first byte of its `argv[0]` keeps systemd's shutdown from killing it
/// (systemd: "systemd and Storage Daemons for the Root File System").
const SERVE_NAME: &str = "@banger-agent";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let first = std::process::id() == 1;
    if name == SERVE_NAME {
        serve::run()
    } else if first && name == "/shutdown" {
        leave::run(&args.next().unwrap_or_default())
    } else if first {
        boot::run()
    } else {
        eprintln!(
            "banger-agent {}: it is the /init of a banger guest, and nothing else",
            env!("CARGO_PKG_VERSION")
        );
        ExitCode::from(2)
    }
}
