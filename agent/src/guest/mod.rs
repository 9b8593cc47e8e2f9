//! What the agent writes into a guest's root.

mod block;
mod host_keys;
mod identity;
mod keys;
mod root;
#[cfg(test)]
mod tests;

pub(crate) use host_keys::{ensure_host_keys, has_ssh_server, public_host_keys};
pub(crate) use identity::{write_files, write_identity};
pub(crate) use keys::authorize;
pub(crate) use root::Root;
