//! The client's end of the daemon's wire: blocking, one connection per request.
//!
//! Guarantees: a daemon that isn't installed, isn't running, may not be spoken
//! to or speaks nonsense is told apart in [`CallError`]; a frame longer than
//! [`crate::wire::MAX_FRAME`] is never read.

pub mod call;
pub mod connection;
pub mod error;
pub mod watch;

pub use call::Daemon;
pub use connection::Connection;
pub use error::CallError;
pub use watch::Watch;
