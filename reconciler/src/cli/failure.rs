//! A failure as a person reads it: what failed, why, what to do.

use std::error::Error;
use std::fmt::Write as _;

use super::Exit;
use super::escape::escape;
use super::style::{BAD, BOLD};
use crate::client::CallError;
use crate::wire::response::Code;

/// What ended a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, on which object.
    pub message: String,
    /// Why, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
    /// Everything was said already: only the exit code is left.
    pub silent: bool,
}

impl Failure {
    /// A failure without cause or help.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            help: None,
            silent: false,
        }
    }

    /// Wrong usage or invalid input.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// A failure whose explanation is on stderr already.
    pub fn reported(exit: Exit) -> Self {
        Self {
            silent: true,
            ..Self::new(exit, "")
        }
    }

    /// Adds an error and all that is behind it.
    #[must_use]
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Adds a cause in words.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The lines for stderr, with their newlines.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if self.silent {
            return text;
        }
        let mut line = |style: anstyle::Style, label: &str, body: &str| {
            let body = escape(body.trim_end()).replace('\n', "\n    ");
            // Writing to a String can't fail.
            let _ = writeln!(text, "{style}{label}{style:#} {body}");
        };
        line(BAD, "error:", &self.message);
        for cause in &self.causes {
            line(BOLD, "  cause:", cause);
        }
        if let Some(help) = &self.help {
            line(BOLD, "  help:", help);
        }
        text
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Answer {
                code,
                message,
                remedy,
            } => Self {
                help: remedy,
                ..Self::new(
                    match code {
                        Code::NotFound => Exit::NotFound,
                        Code::Conflict => Exit::Conflict,
                        Code::Invalid => Exit::Invalid,
                        Code::Internal => Exit::Internal,
                    },
                    message,
                )
            },
            CallError::NoSocket(_) => Self::new(Exit::Unreachable, "the daemon can't be reached")
                .cause(error.to_string())
                .help(match super::places::installed() {
                    Some(_) => "start its socket: `sudo systemctl start bangerd.socket`",
                    None => "banger isn't installed on this host yet: `sudo banger system install`",
                }),
            CallError::Denied(_) => {
                let failure = Self::new(Exit::Denied, "the daemon may not be used by this account")
                    .cause(error.to_string());
                match super::places::installed() {
                    Some(install) => failure.help(format!(
                        "banger on this host belongs to `{0}`: log in as {0}, or use `sudo -u {0} banger …`",
                        install.owner
                    )),
                    None => failure,
                }
            }
            CallError::Refused(..) => Self::new(Exit::Unreachable, "the daemon can't be reached")
                .because(&error)
                .help("look at it with `sudo banger system status` and `journalctl -u bangerd`"),
            CallError::TimedOut => Self::new(Exit::Timeout, error.to_string())
                .help("look at it with `sudo banger system status` and `journalctl -u bangerd`"),
            CallError::Broken(..) | CallError::HungUp => {
                Self::new(Exit::Unreachable, "the daemon went away")
                    .because(&error)
                    .help("the reason is in `journalctl -u bangerd`; try again")
            }
            CallError::TooLong(_) | CallError::Unreadable(_) | CallError::OutOfPlace(_) => {
                Self::new(Exit::Internal, "the daemon gave an answer that makes no sense")
                    .because(&error)
                    .help("`banger version` shows both versions; `sudo banger system install` updates the daemon")
            }
        }
    }
}
