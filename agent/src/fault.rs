//! A step that failed: what was being done, and why it didn't work.

use std::io;

/// A step of the agent that failed.
#[derive(Debug, thiserror::Error)]
#[error("{stage}")]
pub(crate) struct Fault {
    /// What was being done, for a person: `mounting the root disk`.
    pub(crate) stage: String,
    /// Why.
    #[source]
    pub(crate) source: io::Error,
}

impl Fault {
    /// A fault that no system call said.
    pub(crate) fn new(stage: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            stage: stage.into(),
            source: io::Error::other(why.into()),
        }
    }
}

/// Says which step an error belongs to.
pub(crate) trait During<T> {
    /// `stage` in the words of a person: `mounting the root disk`.
    fn during(self, stage: impl Into<String>) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, stage: impl Into<String>) -> Result<T, Fault> {
        self.map_err(|source| Fault {
            stage: stage.into(),
            source: source.into(),
        })
    }
}
