//! The daemon's part of the network: published ports and names. Bridge, taps
//! and NAT are the helper's.

pub mod dns;
mod proxy;
mod published;
#[cfg(test)]
mod tests;

pub use published::{PublishError, Published};
