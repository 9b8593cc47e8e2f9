//! The only loop.
//!
//! ```text
//! wake -> read -> vanish -> admit -> save -> observe -> plan -> act -> status
//!   ^                                                       |
//!   +---- files, host, requests, timers, finished chains <--+
//! ```
//!
//! Guarantees: what woke the loop never changes what a pass decides; what was
//! admitted is durable before anything is done for it; a VM has at most one
//! chain of steps at a time, and a chain that fails ends for that VM alone;
//! a chain whose VM is wanted otherwise meanwhile stops at the next step.
//! Assumes what [`banger_core::seam::Host`] promises.

mod act;
mod admit;
mod ask;
mod board;
mod chain;
mod clock;
mod collect;
mod confirm;
mod disk;
mod ended;
mod happened;
mod heartbeat;
mod image;
mod ledger;
mod look;
mod network;
mod pass;
mod pool;
mod prune;
mod publish;
mod rename;
mod run;
mod settings;
mod trash;

#[cfg(test)]
mod proof;
#[cfg(test)]
mod tests;

pub use ask::{Ask, Confirm, Handle, Refusal, Synced};
pub use clock::BootClock;
pub use collect::Collect;
pub use ended::Ended;
pub use heartbeat::Heartbeat;
pub use publish::Published;
pub use run::Controller;
pub use settings::{Settings, Site};
