//! Exit codes; docs/exit-codes.md is their reference.

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// `diff`: there are differences. Waiting: what was waited for failed.
    Differs,
    /// Wrong usage or invalid input. `diff`: any error.
    Invalid,
    /// No such object.
    NotFound,
    /// Not in time.
    Timeout,
    /// The daemon doesn't answer.
    Unreachable,
    /// It can't be done as things are.
    Conflict,
    /// This account may not.
    Denied,
    /// The program, the daemon or the machine failed.
    Internal,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Differs => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Timeout => 4,
            Self::Unreachable => 5,
            Self::Conflict => 6,
            Self::Denied => 7,
            Self::Internal => 70,
        }
    }

    /// What stands under `banger --help`.
    pub const HELP: &str = "\
Exit codes:
  0  done                         4  not in time
  1  differences (diff), or what  5  the daemon doesn't answer
     was waited for failed        6  can't be done as things are
  2  wrong usage, invalid input;  7  this account may not
     diff: any error             70  internal failure
  3  no such object
`doctor` ends with 1 where a check fails, and with 0 where it only warns.
`vm ssh` passes on the exit status of the guest's command.";
}
