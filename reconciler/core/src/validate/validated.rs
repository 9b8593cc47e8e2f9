//! A document whose every field is within its bounds.

use std::ops::Range;
use std::path::PathBuf;

pub use crate::api::Body;
use crate::api::{Kind, Metadata, Name};
use crate::parse::Places;
use crate::problem::Problem;

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The file that holds it.
    pub file: PathBuf,
    /// Its bytes in the file.
    pub span: Range<usize>,
    /// Its first line in the file, from 1.
    pub line: u32,
    /// Its metadata.
    pub metadata: Metadata,
    /// Its spec; paths in an image are absolute.
    pub body: Body,
    /// Where its fields are.
    pub places: Places,
    /// Its text, or the whole file's where that holds nothing else; empty
    /// where whoever read it didn't keep it.
    pub text: String,
}

impl Validated {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Kind and name.
    pub fn key(&self) -> (Kind, Name) {
        (self.kind(), self.metadata.name.clone())
    }

    /// The beginnings of a problem with one of its fields, at that field's place.
    pub fn problem(&self, field: &str) -> Problem {
        let problem = self
            .places
            .problem(&self.file, Some(self.key()), field, "", "");
        Problem {
            at: problem.at.or(Some((self.line, 1))),
            remedy: None,
            ..problem
        }
    }
}
