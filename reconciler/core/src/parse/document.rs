//! What comes out of a file.

use std::ops::Range;

use super::Places;
use crate::api::Manifest;
use crate::problem::Problem;

/// A file, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Documents without a problem so far, in the file's order.
    pub documents: Vec<Document>,
    /// What is wrong with the others, in the file's order.
    pub problems: Vec<Problem>,
}

/// One document of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it says.
    pub manifest: Manifest,
    /// Its bytes in the file: from its first line that isn't blank or a comment
    /// to the end of its last, without the `---` lines around it.
    pub span: Range<usize>,
    /// The line of `span.start`, from 1.
    pub line: u32,
    /// Where its fields are.
    pub places: Places,
}
