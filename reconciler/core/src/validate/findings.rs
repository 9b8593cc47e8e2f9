//! What is wrong with a document, while it is being found.

use std::path::Path;

use crate::api::{Kind, Name, Quantity};
use crate::parse::{Document, Places};
use crate::problem::Problem;

/// Collects problems.
pub(super) struct Findings<'a> {
    file: &'a Path,
    object: (Kind, Name),
    places: &'a Places,
    problems: Vec<Problem>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a Path, document: &'a Document) -> Self {
        Self {
            file,
            object: (document.manifest.kind(), document.manifest.name().clone()),
            places: &document.places,
            problems: Vec::new(),
        }
    }

    /// Adds a problem with a field.
    pub(super) fn refuse(
        &mut self,
        field: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(self.places.problem(
            self.file,
            Some(self.object.clone()),
            field,
            message,
            remedy,
        ));
    }

    /// A size in whole MiB between two bounds, each with its reason.
    pub(super) fn size(
        &mut self,
        field: &str,
        size: Quantity,
        (least, why_least): (Quantity, &str),
        (most, why_most): (Quantity, &str),
    ) {
        if size < least {
            self.refuse(
                field,
                format!("{size} is too small: {why_least}"),
                if size.bytes() < 1 << 20 {
                    let number = size.bytes();
                    format!(
                        "write {least} or more; without a unit a number counts bytes: \
                         `{number}Mi` is {number} MiB"
                    )
                } else {
                    format!("write {least} or more")
                },
            );
        } else if size > most {
            self.refuse(
                field,
                format!("{size} is too large: {why_most}"),
                format!("write {most} or less; `Mi` and `Gi` are the units of everyday sizes"),
            );
        } else if Quantity::from_mib(size.mib()) != size {
            let below = Quantity::from_mib(size.mib());
            let above = Quantity::from_mib(size.mib() + 1);
            self.refuse(
                field,
                format!("{size} is not a whole number of MiB, which sizes are counted in"),
                format!("write {below} or {above}"),
            );
        }
    }

    pub(super) fn finish(self) -> Result<(), Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let mut problems = self.problems;
        problems.sort_by_key(|problem| problem.at);
        Err(problems)
    }
}
