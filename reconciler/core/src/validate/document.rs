//! A document as a whole.

use std::path::{Path, PathBuf};

use super::findings::Findings;
use super::{Validated, image, metadata, virtual_machine};
use crate::api::Body;
use crate::parse::Document;
use crate::problem::Problem;

/// What documents are read in the light of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The owner's home directory, absolute: what `~/` stands for.
    pub home: PathBuf,
}

/// Checks a document. `file` is absolute; paths of an image are relative to its directory.
///
/// # Errors
/// Everything that is wrong with it, in the file's order.
pub fn validate(file: &Path, document: Document, ctx: &Context) -> Result<Validated, Vec<Problem>> {
    let mut findings = Findings::new(file, &document);
    metadata::check(&document.manifest.metadata, &mut findings);
    let body = match &document.manifest.body {
        Body::VirtualMachine(spec) => {
            virtual_machine::check(spec, &mut findings);
            Body::VirtualMachine(spec.clone())
        }
        Body::Image(spec) => Body::Image(image::check(spec, file, ctx, &mut findings)),
    };
    findings.finish()?;
    Ok(Validated {
        file: file.to_owned(),
        span: document.span,
        line: document.line,
        metadata: document.manifest.metadata,
        body,
        places: document.places,
        text: String::new(),
    })
}
