//! A VMM: Firecracker under its jailer, as a transient service of systemd, so
//! that it inherits nothing of the helper and outlives helper and daemon.
//!
//! `absent -> jail, sockets -> unit -> running -> exited (record) -> removed`
//!
//! The process is known by the unit's cgroup, which only systemd fills, its uid
//! or program, pid and start time. Every start has a fresh jail; leftovers of
//! an earlier run are removed first.

pub mod entrance;
mod exit;
mod jail;
mod memory;
mod process;
mod sockets;
mod start;
mod tree;
mod unit;

use banger_protocol::{Handle, VmUid};

use crate::failure::blocking;
use crate::{Done, Failure, Host, Outcome};

pub use exit::read as exit;
pub use jail::{present as jail_present, uids as jails};
pub use process::{executable, of as process};
pub use sockets::close as close_sockets;
pub use start::{Files, Machine, start};

/// The slice of every VMM's unit.
pub const SLICE: &str = "banger.slice";
/// Units of VMMs, as a shell pattern.
pub const PATTERN: &str = "banger-vm-*.service";

/// Kills the unit's processes; answers once systemd has seen them gone.
pub async fn kill(host: &Host, uid: VmUid) -> Done {
    let was = host.systemd.unit(&uid.unit()).await?;
    if !was.is_some_and(|unit| unit.live()) {
        return Ok(Outcome::Unchanged(Handle::None));
    }
    let killed = host.systemd.kill(&uid.unit()).await?;
    if process::of(host, uid)?.is_some() {
        return Err(Failure::later(
            "kill",
            format!("{}: still running", uid.unit()),
        ));
    }
    Ok(Outcome::new(killed, Handle::None))
}

/// Removes what a VMM that isn't running left: the failed unit, its jail and
/// its sockets.
pub async fn remove(host: &Host, uid: VmUid) -> Done {
    let unit = host.systemd.unit(&uid.unit()).await?;
    let running = unit.as_ref().is_some_and(|u| u.live()) || process::of(host, uid)?.is_some();
    if running {
        return Err(Failure::os(
            "unit",
            format!("{} still runs: kill it first", uid.unit()),
            std::io::Error::from_raw_os_error(nix::libc::EBUSY),
        ));
    }
    let mut changed = unit.is_some() && host.systemd.reset(&uid.unit()).await?;
    changed |= clear(host, uid).await?;
    Ok(Outcome::new(changed, Handle::None))
}

/// Removes jail and socket directory. Whether there was anything.
async fn clear(host: &Host, uid: VmUid) -> Result<bool, Failure> {
    let (jails, sockets) = (host.jails(), host.socket_dirs());
    blocking("unlinkat", move || {
        let name = uid.to_string();
        let jail = tree::remove(&jails, &name)?;
        let sockets = tree::remove(&sockets, &name)?;
        Ok(jail || sockets)
    })
    .await
}
