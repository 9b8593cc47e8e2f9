//! The end of the machine.

use rustix::system::{RebootCommand, reboot};

/// Ends the VMM: a reboot with `reboot=k` on the kernel's command line makes
/// Firecracker exit with 0; a power-off would only halt the guest.
pub(crate) fn end() -> ! {
    rustix::fs::sync();
    let _ = reboot(RebootCommand::Restart);
    // The reboot was refused: PID 1 that exits makes the kernel panic, and
    // `panic=1` reboots it; any other process has nothing more to try.
    std::process::exit(1)
}
