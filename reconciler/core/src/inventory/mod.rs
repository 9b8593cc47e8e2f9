//! What the host holds, object by object, against what is intended: for
//! `banger doctor --inventory`, and for `banger gc`, which removes exactly the
//! objects that the list calls unowned or stale.
//!
//! ```text
//! Intents + Holdings --compare--> InventoryReport
//!                    `-collect--> Collection (orphans' steps, leftovers)
//! ```
//!
//! Guarantees: pure; what could not be read is named as unknown and never
//! counted as absent; what is foreign is listed and never collected; what
//! belongs to an orphan whose VMM runs is collected only if that VM is named.

mod collect;
mod compare;
mod holdings;
mod report;

pub use collect::{Collection, Left, Removal, collect};
pub use compare::compare;
pub use holdings::{Holdings, Leftover, LookAlike, Scratch, VmDirectory};
pub use report::{InventoryReport, Item, Object, State};
