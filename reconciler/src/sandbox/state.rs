//! How far the kernel keeps the rules.

use serde::{Deserialize, Serialize};

/// What Landlock does for the daemon. An `abi` is the kernel's, as landlock(7)
/// counts them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Landlock {
    /// Everything that was asked for.
    Full {
        /// At least 6: Linux 6.12.
        abi: u32,
    },
    /// What this kernel knows of it.
    Partial {
        /// From 2, Linux 5.19.
        abi: u32,
    },
    /// Nothing: with ABI 1 no file can be moved to another directory.
    TooOld {},
    /// Nothing: the kernel has it, and wasn't started with it.
    NotEnabled {},
    /// Nothing: the kernel doesn't have it, or what runs the daemon hides it.
    NotBuilt {},
    /// Nothing: it was refused.
    Refused {
        /// Why.
        why: String,
    },
}

impl Landlock {
    /// One line for the log, as a warning where nothing is kept.
    pub fn log(&self) {
        match self {
            Self::Full { abi } => {
                tracing::info!(
                    landlock = "full",
                    abi,
                    "the kernel confines what this daemon writes"
                );
            }
            Self::Partial { abi } => tracing::info!(
                landlock = "partial",
                abi,
                "the kernel confines what this daemon writes, as far as its Landlock goes"
            ),
            Self::TooOld {} => unconfined("too-old", "its Landlock can't move files"),
            Self::NotEnabled {} => unconfined("not-enabled", "Landlock is not turned on"),
            Self::NotBuilt {} => unconfined("not-built", "it has no Landlock"),
            Self::Refused { why } => unconfined("refused", why),
        }
    }
}

fn unconfined(landlock: &str, why: &str) {
    tracing::warn!(
        landlock,
        "the kernel doesn't confine what this daemon writes: {why}; `banger doctor` says what to do"
    );
}
