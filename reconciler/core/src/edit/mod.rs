//! One document of a file's text is replaced, removed or added; every other
//! byte of the file stays as it is. Pure functions; the caller reads, compares
//! and writes.
//!
//! A document is found by kind and name, even where it can't be read as a
//! whole, so that a broken document can be replaced by a good one. The file's
//! own line ends are kept.

mod change;
mod locate;

pub use change::{Removal, append, remove, replace};
pub use locate::{EditError, find};

#[cfg(test)]
mod tests;
