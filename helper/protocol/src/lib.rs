//! The wire between `bangerd` and its root helper.
//!
//! One Unix stream socket, one request in flight per connection. A frame is a
//! big-endian `u32` length and that many bytes of JSON; file descriptors
//! travel as `SCM_RIGHTS` beside a request's first byte, in the order that the
//! operation names. Requests are capped at [`frame::MAX_REQUEST`] bytes.
//! A connection starts with [`Request::Hello`].
//!
//! Guarantees: every name and number that a request can carry is checked while
//! it is read, so that a `Request` value is well formed by construction.
//! Whether the peer *may* ask for it is the helper's business.

pub mod disk;
pub mod error;
pub mod frame;
pub mod install;
pub mod inventory;
pub mod manifest;
pub mod name;
pub mod obstacle;
pub mod policy;
pub mod pool;
pub mod request;
pub mod response;
pub mod slot;
pub mod ula;
pub mod version;

pub use disk::{DiskRole, LoopNumber, Sectors};
pub use error::{OpError, Retry};
pub use install::Install;
pub use inventory::Inventory;
pub use name::VmUid;
pub use obstacle::{Family, Firewall, Obstacle, Way};
pub use policy::{Cidrs, Egress, NetworkPolicy};
pub use pool::{PoolSize, WarmUps};
pub use request::Request;
pub use response::{Handle, Response};
pub use slot::Slot;
pub use ula::Ula;
pub use version::Version;
