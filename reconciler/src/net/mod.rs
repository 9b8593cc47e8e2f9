//! The daemon's part of the network: published ports. Bridge, taps and NAT
//! are the helper's.

mod published;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use published::{PublishError, Published};
