//! Why a call of the daemon failed.

use std::io;
use std::path::PathBuf;

use crate::wire::response::Code;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no socket: banger isn't installed, or its socket unit is off.
    #[error("the daemon's socket {0} isn't there")]
    NoSocket(PathBuf),
    /// The socket is another account's.
    #[error("this account may not use the daemon's socket {0}")]
    Denied(PathBuf),
    /// A socket without a daemon behind it.
    #[error("no daemon answers at {0}")]
    Refused(PathBuf, #[source] io::Error),
    /// The connection broke.
    #[error("the connection to the daemon broke while {0}")]
    Broken(&'static str, #[source] io::Error),
    /// The daemon hung up before it answered in full.
    #[error("the daemon hung up before it had answered in full")]
    HungUp,
    /// A frame beyond the limit.
    #[error("the daemon announced a frame of {0} bytes, more than is allowed")]
    TooLong(usize),
    /// What came isn't an answer that this program knows.
    #[error("the daemon's answer can't be read; are `banger` and `bangerd` of the same version?")]
    Unreadable(#[source] serde_json::Error),
    /// An answer to another question.
    #[error("the daemon answered with `{0}`, which doesn't belong to the request")]
    OutOfPlace(&'static str),
    /// No answer in time.
    #[error("the daemon gave no answer in time")]
    TimedOut,
    /// The daemon says no.
    #[error("{message}")]
    Answer {
        /// The kind of failure.
        code: Code,
        /// What failed.
        message: String,
        /// What to do.
        remedy: Option<String>,
    },
}
