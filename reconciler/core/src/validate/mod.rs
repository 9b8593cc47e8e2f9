//! From a manifest to a document whose every field is within its bounds.

mod validated;

pub use validated::{Body, Validated};
