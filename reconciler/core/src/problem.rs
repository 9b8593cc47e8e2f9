//! What is wrong with a document, where, and what to write instead.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::api::{Kind, Name};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line and column, from 1, where there is a place.
    pub at: Option<(u32, u32)>,
    /// The object, where the document got as far as naming it.
    pub object: Option<(Kind, Name)>,
    /// The field, such as `spec.memory`.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: Option<String>,
    /// The source line, without its newline, at most 200 characters.
    pub line: Option<String>,
}
