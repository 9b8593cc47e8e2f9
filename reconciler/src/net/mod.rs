//! The daemon's part of the network: published ports. Bridge, taps and NAT
//! are the helper's.

mod proxy;
mod published;
#[cfg(test)]
mod tests;

pub use published::{PublishError, Published};
