//! The DNS server on the bridge: `<vm>.vm` for the host and for guests, and
//! everything else from the host's own servers.
//!
//! ```text
//! status -> Records ------------v
//! packet -> Request -> Zone: Reply, or a question of somebody else's
//!                                    `-> Quota -> upstream -> rebinding -> Reply
//! service: sockets by the helper -> server -> systemd-resolved told -> told otherwise at the end
//! ```
//!
//! Guarantees: only addresses of the guests' subnet are answered, the bridge's
//! own among them; an answer over UDP is never larger than the client takes,
//! and one over TCP never larger than a message can be; whatever a client
//! sends, and however much of it, costs a bounded amount of memory and
//! sockets, and leaves others their share; what is answered was decoded and
//! written anew, so that no client sees bytes that weren't looked at.
//! Assumes that a guest can't send from another's address (`helper/src/op/nat`).

mod message;
mod probe;
mod quota;
mod rebinding;
mod records;
mod resolvers;
mod server;
mod service;
mod sockets;
#[cfg(test)]
mod tests;
mod upstream;
mod zone;

pub use probe::probe;
pub use records::Records;
pub use service::Service;
