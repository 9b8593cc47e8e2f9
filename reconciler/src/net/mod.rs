//! The daemon's part of the network: published ports and names. Bridge, taps
//! and NAT are the helper's.

pub mod dns;
mod published;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use published::{PublishError, Published};
