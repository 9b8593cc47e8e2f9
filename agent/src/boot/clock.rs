//! The guest's wall clock.

use std::io;

use rustix::time::{ClockId, Timespec, clock_settime};

/// Sets it to nanoseconds since the epoch.
pub(crate) fn set(now_ns: u64) -> io::Result<()> {
    let second = 1_000_000_000;
    let time = Timespec {
        tv_sec: i64::try_from(now_ns / second).map_err(io::Error::other)?,
        tv_nsec: i64::try_from(now_ns % second).map_err(io::Error::other)?,
    };
    Ok(clock_settime(ClockId::Realtime, time)?)
}
