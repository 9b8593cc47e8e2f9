//! The daemon's side of [`crate::wire`]: a Unix socket, one request per connection.
//!
//! Guarantees: only the daemon's own user and root are listened to, checked by
//! `SO_PEERCRED` before a byte is read; a frame's length is checked before it
//! is read; a client that is slow or silent loses its connection and holds up
//! nobody; a client that hangs up ends its own streams.

mod frame;
mod listen;
mod serve;
mod session;

#[cfg(test)]
mod tests;

pub use listen::{BindError, Socket};
pub use serve::{Identity, serve};
