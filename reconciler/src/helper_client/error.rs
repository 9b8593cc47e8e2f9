//! Why a call to the helper failed, and what that means for a step.

use std::io;
use std::time::Duration;

use banger_core::seam::StepError;
use banger_protocol::frame::FrameError;
use banger_protocol::{OpError, Retry, Version, version};

const ONE_VERSION: &str =
    "install helper and daemon of the same version: `sudo banger system install`";
/// What the helper names as the operation of a request that it can't read.
const UNREAD: &str = "frame";

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// Nobody accepts connections.
    #[error("banger's helper can't be reached")]
    Unreachable(#[source] io::Error),
    /// The connection broke while the call was under way.
    #[error("the connection to banger's helper broke during {op}")]
    Broken {
        /// The operation.
        op: &'static str,
        /// How.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("banger's helper did not answer {op} within {} s", limit.as_secs())]
    TimedOut {
        /// The operation.
        op: &'static str,
        /// Its limit.
        limit: Duration,
    },
    /// It speaks another major version.
    #[error(
        "banger's helper speaks protocol {}.{}, this daemon {}.{}",
        .0.major, .0.minor, version::CURRENT.major, version::CURRENT.minor
    )]
    OtherVersion(Version),
    /// A frame that isn't as the protocol says.
    #[error("banger's helper and this daemon don't understand each other in {op}")]
    Frame {
        /// The operation.
        op: &'static str,
        /// How.
        #[source]
        source: FrameError,
    },
    /// An answer that doesn't belong to the request.
    #[error("banger's helper gave an answer to {op} that belongs to another operation")]
    OtherAnswer {
        /// The operation.
        op: &'static str,
    },
    /// It refused or failed.
    #[error(transparent)]
    Refused(#[from] OpError),
}

impl HelperError {
    /// What a person can do about it.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(
                "the helper serves only the owner in /etc/banger/install.toml: run bangerd as that user",
            ),
            Self::Unreachable(_) | Self::Broken { .. } | Self::TimedOut { .. } => {
                Some("look at `systemctl status banger-helper.socket banger-helper.service`")
            }
            Self::OtherVersion(_) | Self::Frame { .. } | Self::OtherAnswer { .. } => {
                Some(ONE_VERSION)
            }
            // An operation or a field that is newer than the helper.
            Self::Refused(error) if error.op == UNREAD => Some(ONE_VERSION),
            Self::Refused(_) => None,
        }
    }

    /// Whether trying again can help without anybody's doing. A helper that
    /// isn't there is started by its socket, so that this may pass.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::OtherVersion(_) | Self::Frame { .. } | Self::OtherAnswer { .. } => false,
            Self::Refused(error) => matches!(error.retry, Retry::Later),
        }
    }

    /// The error with its causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

impl From<HelperError> for StepError {
    fn from(error: HelperError) -> Self {
        Self {
            message: error.chain(),
            remedy: error.remedy().map(str::to_owned),
            retry: error.may_pass(),
            source: Some(Box::new(error)),
        }
    }
}
