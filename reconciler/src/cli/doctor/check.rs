//! The outcome of one check.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::escape::escape_line;
use crate::cli::style::{BAD, DIM, GOOD, WARN};

/// How a requirement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Verdict {
    /// It is met.
    Pass,
    /// banger works; somebody may want to look.
    Warn,
    /// banger can't work, or not safely.
    Fail,
    /// It could not be looked at, or doesn't apply.
    Skip,
}

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Check {
    /// What it is.
    pub(in crate::cli) name: String,
    /// How it stands.
    pub(in crate::cli) verdict: Verdict,
    /// What was seen.
    pub(in crate::cli) message: String,
    /// What to do, where there is something to do.
    pub(in crate::cli) remedy: Option<String>,
}

impl Check {
    fn new(name: &str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            verdict,
            message: message.into(),
            remedy: None,
        }
    }

    pub(super) fn pass(name: &str, message: impl Into<String>) -> Self {
        Self::new(name, Verdict::Pass, message)
    }

    pub(super) fn skip(name: &str, message: impl Into<String>) -> Self {
        Self::new(name, Verdict::Skip, message)
    }

    pub(super) fn warn(name: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..Self::new(name, Verdict::Warn, message)
        }
    }

    pub(super) fn fail(name: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..Self::new(name, Verdict::Fail, message)
        }
    }
}

/// How many checks came out in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Counts {
    pass: usize,
    warn: usize,
    fail: usize,
    skip: usize,
}

impl Counts {
    pub(in crate::cli) fn of(checks: &[Check]) -> Self {
        let count = |verdict| checks.iter().filter(|it| it.verdict == verdict).count();
        Self {
            pass: count(Verdict::Pass),
            warn: count(Verdict::Warn),
            fail: count(Verdict::Fail),
            skip: count(Verdict::Skip),
        }
    }

    /// Whether banger can work.
    pub(in crate::cli) const fn well(self) -> bool {
        self.fail == 0
    }

    fn line(self) -> String {
        let mut line = format!("{} pass, {} warn, {} fail", self.pass, self.warn, self.fail);
        if self.skip > 0 {
            let _ = write!(line, ", {} skipped", self.skip);
        }
        line
    }
}

/// A line per check, remedies below, the counts at the end.
pub(in crate::cli) fn render(checks: &[Check]) -> String {
    let width = checks.iter().map(|it| it.name.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let (style, word) = match check.verdict {
            Verdict::Pass => (GOOD, "pass"),
            Verdict::Warn => (WARN, "warn"),
            Verdict::Fail => (BAD, "fail"),
            Verdict::Skip => (DIM, "skip"),
        };
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "{style}{word}{style:#}  {:width$}  {}",
            check.name,
            escape_line(&check.message)
        );
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "      {:width$}  {}", "", escape_line(remedy));
        }
    }
    let _ = writeln!(text, "{}", Counts::of(checks).line());
    text
}

/// The checks for programs.
pub(in crate::cli) fn json(checks: &[Check]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Report<'a> {
        checks: &'a [Check],
        counts: Counts,
    }
    let report = Report {
        checks,
        counts: Counts::of(checks),
    };
    serde_json::to_string_pretty(&report).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::{Check, Counts, render};

    #[test]
    fn lines_are_aligned_and_remedies_stand_below() {
        let checks = [
            Check::pass("KVM", "a microVM ran"),
            Check::warn("swap", "/dev/sda2 is on", "`sudo swapoff -a`"),
            Check::fail("device-mapper", "it isn't there\x1b", "`modprobe dm_mod`"),
            Check::skip("images", "no daemon"),
        ];
        let text = anstream::adapter::strip_str(&render(&checks)).to_string();
        assert_eq!(
            text,
            "pass  KVM            a microVM ran\n\
             warn  swap           /dev/sda2 is on\n\
             \x20                    `sudo swapoff -a`\n\
             fail  device-mapper  it isn't there\\x1b\n\
             \x20                    `modprobe dm_mod`\n\
             skip  images         no daemon\n\
             1 pass, 1 warn, 1 fail, 1 skipped\n"
        );
        assert!(!Counts::of(&checks).well());
        assert!(Counts::of(&checks[..2]).well());
    }
}
