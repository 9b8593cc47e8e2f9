//! `~/.config/banger/config.toml`, read from the disk.
//!
//! The file may be missing; one that is there and can't be read or isn't right
//! is an error, never the defaults.

mod load;

pub use banger_core::config::Config;
pub use load::{ConfigError, load, load_file, path};

#[cfg(test)]
mod tests;
