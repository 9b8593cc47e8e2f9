//! A document whose every field is within its bounds.

use std::ops::Range;
use std::path::PathBuf;

use crate::api::{ImageSpec, Kind, Metadata, Name, VirtualMachineSpec};
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
    /// Its spec.
    pub body: Body,
}

/// The spec of either kind; paths in an image are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Of a VM.
    VirtualMachine(VirtualMachineSpec),
    /// Of an image.
    Image(ImageSpec),
}

impl Validated {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self.body {
            Body::VirtualMachine(_) => Kind::VirtualMachine,
            Body::Image(_) => Kind::Image,
        }
    }

    /// Kind and name.
    pub fn key(&self) -> (Kind, Name) {
        (self.kind(), self.metadata.name.clone())
    }

    /// The beginnings of a problem with one of its fields.
    pub fn problem(&self, field: &str) -> Problem {
        Problem {
            file: self.file.clone(),
            at: Some((self.line, 1)),
            object: Some(self.key()),
            field: Some(field.to_owned()),
            message: String::new(),
            remedy: None,
            line: None,
        }
    }
}
