//! `~/.config/banger/config.toml`.

mod defaults;

pub use defaults::VmDefaults;
