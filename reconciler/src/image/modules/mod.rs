//! The kernel modules that the boot initrd carries.

mod collect;
mod error;
mod index;
#[cfg(test)]
mod tests;

pub(super) use collect::{Module, collect};
pub use error::ModulesError;
