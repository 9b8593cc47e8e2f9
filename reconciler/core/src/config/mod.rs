//! `~/.config/banger/config.toml`: what the owner decides about the host and
//! about new VMs. Everything in it has a default, and the file may be missing.
//! What only root may decide is in `/etc/banger/install.toml`.

mod check;
mod defaults;
mod disk;
mod file;
mod ipv6;
mod settings;

pub use defaults::VmDefaults;
pub use disk::Disk;
pub use file::parse;
pub use ipv6::Ipv6;
pub use settings::{Config, Directories, Dns, Limits, Network, OwnFiles, Pool};

#[cfg(test)]
mod tests;
