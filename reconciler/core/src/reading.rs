//! What a full read of the directories gave, parsed and validated.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::api::{Kind, Name};
use crate::problem::Problem;
use crate::validate::Validated;

/// One full read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Every file, by path.
    pub files: Vec<FileReading>,
    /// A directory could not be read, or changed while it was: nothing that is
    /// missing here may be taken to be gone.
    pub incomplete: Option<String>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct FileReading {
    /// Its path.
    pub path: PathBuf,
    /// The documents that are as they should be.
    pub validated: Vec<Validated>,
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
}

impl Reading {
    /// Every object that some document declares, well or badly.
    pub fn declared(&self) -> BTreeSet<(Kind, Name)> {
        let good = self
            .files
            .iter()
            .flat_map(|file| &file.validated)
            .map(Validated::key);
        let bad = self.files.iter().flat_map(|file| &file.problems);
        good.chain(bad.filter_map(|problem| problem.object.clone()))
            .collect()
    }

    /// A document that couldn't even be told by name. It may declare anything,
    /// so while there is one, nothing is taken to be gone.
    pub fn unnamed_problem(&self) -> Option<&Problem> {
        self.files
            .iter()
            .flat_map(|file| &file.problems)
            .find(|problem| problem.object.is_none())
    }
}
