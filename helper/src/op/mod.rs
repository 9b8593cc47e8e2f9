//! The privileged nouns, one file each. Every `ensure` and `remove` looks
//! first, acts second, and says whether it had to.

pub mod bridge;
pub mod dm;
pub mod dns;
pub mod inventory;
pub mod loopdev;
pub mod nat;
pub mod pool;
pub mod resolver;
pub mod tap;
pub mod vmm;
