//! What an operation answers inside the helper, before it goes on the wire.

use std::io;

use banger_protocol::{Handle, OpError, Response, Retry};
use nix::errno::Errno;

/// An operation that reached its goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The host already was as asked.
    Unchanged(Handle),
    /// It is now.
    Changed(Handle),
}

impl Outcome {
    /// Names the handle, with whether anything had to be done for it.
    pub fn new(changed: bool, handle: Handle) -> Self {
        if changed {
            Self::Changed(handle)
        } else {
            Self::Unchanged(handle)
        }
    }
}

impl From<Outcome> for Response {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Unchanged(handle) => Self::Unchanged { handle },
            Outcome::Changed(handle) => Self::Changed { handle },
        }
    }
}

/// The result of one operation.
pub type Done = Result<Outcome, Failure>;

/// A refused or failed step. The operation's name is added at the door, so
/// that a step that several operations share needn't know who asked.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {message}")]
pub struct Failure {
    /// What was being done: a system call, a program, a check.
    pub step: &'static str,
    /// Object and circumstance, for a person.
    pub message: String,
    /// Whether asking again can help.
    pub retry: Retry,
    /// The kernel's answer, where it was one.
    #[source]
    pub source: Option<io::Error>,
}

impl Failure {
    /// The request isn't allowed, or the object isn't ours.
    pub fn refused(step: &'static str, message: impl Into<String>) -> Self {
        Self {
            step,
            message: message.into(),
            retry: Retry::Never,
            source: None,
        }
    }

    /// It didn't work, and may work later.
    pub fn later(step: &'static str, message: impl Into<String>) -> Self {
        Self {
            step,
            message: message.into(),
            retry: Retry::Later,
            source: None,
        }
    }

    /// A system call failed on `object`.
    pub fn os(step: &'static str, object: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        Self {
            step,
            message: object.into(),
            retry: retry(&source),
            source: Some(source),
        }
    }

    /// The errno below it.
    pub fn errno(&self) -> Option<i32> {
        self.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// As it travels.
    pub fn on_wire(self, op: &str) -> OpError {
        let message = match &self.source {
            Some(cause) => format!("{}: {cause}", self.message),
            None => self.message.clone(),
        };
        OpError {
            op: op.to_owned(),
            step: self.step.to_owned(),
            errno: self.errno(),
            message,
            retry: self.retry,
        }
    }
}

/// Errors of the request stay errors; those of the moment may pass.
fn retry(error: &io::Error) -> Retry {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(
            Errno::EPERM
            | Errno::EACCES
            | Errno::EINVAL
            | Errno::ENOTSUP
            | Errno::ENOSYS
            | Errno::ENOTTY
            | Errno::ELOOP
            | Errno::ENAMETOOLONG
            | Errno::EBADF,
        ) => Retry::Never,
        _ => Retry::Later,
    }
}

/// Runs a short blocking section beside the runtime's workers.
pub async fn blocking<T: Send + 'static>(
    step: &'static str,
    section: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(section)
        .await
        .unwrap_or_else(|e| Err(Failure::later(step, format!("the step died: {e}"))))
}
