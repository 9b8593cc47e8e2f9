//! What `banger` and `bangerd` say to each other over `/run/banger/bangerd.sock`.
//!
//! Frames as on the helper's wire: a big-endian `u32` length and JSON. One
//! request per connection; the daemon answers with one or more [`Response`]s
//! and ends with one of those that [`Response::is_last`] names. A client may
//! hang up at any time.

pub mod request;
pub mod response;

pub use request::Request;
pub use response::Response;

/// The longest frame in either direction.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;
