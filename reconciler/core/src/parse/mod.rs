//! Bytes of a file to manifests, with every problem at its place.
//!
//! ```text
//! bytes -> text -> documents (split at `---`) -> tree with positions -> Manifest
//! ```
//!
//! Guarantees: never panics; ends within the caps of [`limits`]; one bad
//! document doesn't hide its neighbours; lines and columns count in the file,
//! from 1; a document with a problem still says which object it is about
//! wherever that can be read.

mod decode;
mod document;
mod explain;
mod file;
pub mod limits;
mod manifest;
mod place;
mod split;
mod suggest;
mod tree;

pub use document::{Document, Parsed};
pub(crate) use file::declared;
pub use file::parse;
pub use place::Places;
pub(crate) use split::{Piece, split};
pub(crate) use suggest::{listed, nearest};

#[cfg(test)]
mod tests;
