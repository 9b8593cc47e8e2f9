//! Reading the host: helper's inventory + files of the state directory +
//! Firecracker's APIs -> [`banger_core::observed::Observed`].
//!
//! Guarantees: nothing here changes the host; what could not be read is
//! unknown for every VM that it concerns, never absent.

mod assemble;
pub mod files;
pub mod handles;
pub mod holdings;
mod instances;
pub mod look_alikes;
pub mod process;
#[cfg(test)]
mod tests;

pub use assemble::assemble;
pub use instances::Instances;
