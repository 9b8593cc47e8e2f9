//! Doing: every [`Step`](banger_core::plan::Step) as calls of the helper,
//! requests to Firecracker and to the agent, and files.
//!
//! [`RealHost`] stands behind the seam [`banger_core::seam::Host`]. A step
//! decides nothing; what it needs stands in it and in the VM's intent.
//! Guarantees: each may be repeated after a crash at any point of it.

mod ballast;
mod boot;
mod disks;
mod exit_watch;
mod failure;
pub mod files;
mod holdings;
mod host;
mod image;
pub mod layout;
mod meminfo;
mod network;
mod pause;
pub(crate) mod record;
mod reserve;
mod room;
mod root_disk;
mod serial_log;
mod shared;
mod shutdown;
#[cfg(test)]
mod tests;
mod trash;
mod trash_list;
mod unwritten;
mod vmm;
pub(crate) mod work_disk;
mod writeback;

pub use host::{RealHost, RealHostOptions};
