//! What an operation answers.

use serde::{Deserialize, Serialize};

use crate::inventory::Process;
use crate::{Inventory, LoopNumber, OpError, Version};

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Response {
    /// Answers `hello`.
    Hello {
        /// What the helper speaks.
        version: Version,
    },
    /// Answers `inventory`.
    Inventory {
        /// What is there.
        inventory: Box<Inventory>,
    },
    /// The host already was as asked.
    Unchanged {
        /// What stands there.
        handle: Handle,
    },
    /// The host is now as asked.
    Changed {
        /// What stands there now.
        handle: Handle,
    },
    /// It is not.
    Error {
        /// Why.
        error: OpError,
    },
}

/// The kernel's name for what an operation made or found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handle {
    /// Nothing to name (removals, the bridge, NAT).
    None,
    /// A tap's interface index.
    Tap(u32),
    /// A loop device.
    Loop(LoopNumber),
    /// The root disk's device node, `/dev/dm-N`.
    Dm(String),
    /// The VMM's process.
    Vmm(Process),
}
