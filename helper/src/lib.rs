//! The root process: a closed set of typed operations, served to one owner.
//!
//! `listener -> peer credentials -> hello -> frame -> Request -> op -> Response`
//!
//! Guarantees: no byte of a peer that isn't the owner (or root) is parsed; an
//! operation touches only objects that carry banger's own proof (alias, loop
//! tag, dm UUID, unit name); repeating an operation changes nothing.
//! Assumes: `/etc/banger/install.toml` was written by root.

pub mod client;
pub mod descriptor;
pub mod failure;
pub mod host;
pub mod install_file;
pub mod ipv6;
pub mod manifest;
pub mod netlink;
pub mod op;
pub mod program;
pub mod resolved;
pub mod server;
pub mod systemd;
pub mod tun;

pub use failure::{Done, Failure, Outcome};
pub use host::Host;
