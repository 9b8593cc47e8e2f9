//! What the host holds, object by object, against what is intended: for
//! `banger doctor --inventory`, and for `banger gc`, which removes exactly the
//! objects that the list calls unowned, stale or unneeded.
//!
//! ```text
//! Intents + Holdings --compare--> InventoryReport
//!                    `-collect--> Collection (orphans' steps, leftovers, images)
//! ```
//!
//! Guarantees: pure; what could not be read is named as unknown and never
//! counted as absent; what is foreign is listed and never collected; what
//! belongs to an orphan whose VMM runs is collected only if that VM is named; an
//! image stays for as long as anything that may need it could not be asked.

mod collect;
mod compare;
mod holdings;
mod images;
mod report;

pub use collect::{Collection, Left, Removal, collect};
pub use compare::compare;
pub use holdings::{Backing, Holdings, Leftover, LookAlike, Scratch, StoredImage, VmDirectory};
pub use images::reason_to_stay;
pub use report::{InventoryReport, Item, Object, PoolCounts, State};
