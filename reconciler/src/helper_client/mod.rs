//! The client of the root helper.
//!
//! ```text
//! call -> idle connection or a new one (hello) -> request + descriptors -> response -> idle again
//! ```
//!
//! Guarantees: concurrent calls don't wait for one another (each has a
//! connection of its own); a call that found its idle connection dead, because
//! the helper was restarted, is made once more on a new one, which is right
//! because every operation is idempotent; every call ends within its
//! operation's time limit.

mod connection;
mod error;
mod pool;
#[cfg(test)]
mod tests;

pub use error::HelperError;
pub use pool::HelperClient;
