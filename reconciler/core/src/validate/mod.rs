//! From a manifest to a document whose every field is within its bounds.
//!
//! Guarantees: every problem of a document is reported, not just the first,
//! each at its own field; what banger can't do yet is refused by name, never
//! ignored. Assumes nothing about other documents: clashes between them are
//! admission's.

mod document;
mod files;
mod findings;
mod image;
mod keys;
mod login;
mod metadata;
mod network;
mod validated;
mod virtual_machine;

pub use document::{Context, validate};
pub use validated::{Body, Validated};

#[cfg(test)]
mod tests;
