//! The daemon's side of the conversation with guests over vsock.
//!
//! ```text
//! agent -> v.sock_1024 -> channel: Hello -> config;  Ready, Failed, Leaving -> word
//! daemon -> v.sock (CONNECT 1024) -> agent: Ping, Shutdown, SetAuthorizedKeys, SetFiles
//! ```
//!
//! Guarantees: whatever a guest sends, in whatever number and size, costs the
//! daemon a bounded amount of memory and time, and its text is cleaned before
//! it is kept.

pub mod agent;
pub mod attendant;
pub mod channel;
pub mod config;
pub mod frame;
pub mod known_hosts;
pub mod nameservers;
pub mod own_files;
pub mod owner_key;
mod quota;
#[cfg(test)]
mod tests;
pub mod word;
