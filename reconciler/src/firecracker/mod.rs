//! Firecracker's API, as far as banger uses it (Firecracker 1.12,
//! `firecracker.yaml`): a client over its Unix socket and the requests that
//! make a machine.

mod client;
mod machine;
pub mod socket;
#[cfg(test)]
mod tests;

pub use client::{ApiError, Client, InstanceState, VmState};
pub use machine::{Machine, Put};
