//! The nouns of `banger.dev/v1alpha1`, as people write and read them.

pub mod bounds;
pub mod cidr;
pub mod image;
pub mod manifest;
pub mod meta;
pub mod quantity;
pub mod status;
pub mod virtual_machine;

pub use cidr::Cidr;
pub use image::ImageSpec;
pub use manifest::{Body, Manifest};
pub use meta::{Kind, Metadata, Name, prevents_deletion};
pub use quantity::Quantity;
pub use status::{Condition, ConditionStatus};
pub use virtual_machine::VirtualMachineSpec;

#[cfg(test)]
mod tests;

/// The only version so far.
pub const API_VERSION: &str = "banger.dev/v1alpha1";
