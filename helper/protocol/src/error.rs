//! A refused or failed operation.

use serde::{Deserialize, Serialize};

/// Whether asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// The cause may pass (busy device, out of memory).
    Later,
    /// The request itself is wrong or not allowed.
    Never,
}

/// What failed, at which step, and with which errno.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{op}: {step}: {message}")]
pub struct OpError {
    /// The operation, as [`crate::Request::op`] names it.
    pub op: String,
    /// The step inside it, in the words of the code: `LOOP_CONFIGURE`, `dmsetup create`.
    pub step: String,
    /// The kernel's errno, where one was the cause.
    pub errno: Option<i32>,
    /// One line for a person.
    pub message: String,
    /// Whether asking again can help.
    pub retry: Retry,
}
