//! Disk pressure: how little room is left on the file system that holds the
//! state directory, and what is done about it.
//!
//! ```text
//!           < creates              < guests
//!  None  ------------->  Creates  ----------->  Guests
//!    ^                    ^    |                 |
//!    +--------------------+    +-----------------+
//!       >= creates + hysteresis   >= guests + hysteresis
//! ```
//!
//! At [`Pressure::Creates`] no new disk is made and no image imported; what
//! runs keeps running. At [`Pressure::Guests`] running guests are paused, for
//! a write that fails below a snapshot costs the guest its whole root disk
//! (the kernel's `Documentation/admin-guide/device-mapper/snapshot.rst`:
//! a snapshot that can't be written to is invalid from then on). Removals are
//! never kept back: they free room.
//!
//! The ballast is a file that takes room for as long as there is enough of it.
//! It goes as guests are paused, so that the daemon itself can write, and so
//! can the kernel what guests had written before, which is part of a pause.
//! Guarantees: whether the ballast is there or not never changes the level; what
//! can't be read changes nothing.

mod gauge;
mod level;
mod room;

pub use gauge::{DiskState, Gauge};
pub use level::{DiskLimits, Pressure};
pub use room::Room;

#[cfg(test)]
mod tests;
