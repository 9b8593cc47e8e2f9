//! The list, as people and programs read it.

use std::fmt;

use banger_protocol::inventory::TapPool;
use banger_protocol::{PoolSize, VmUid};
use serde::{Deserialize, Serialize};

use crate::adoption::Adoption;
use crate::api::Name;

/// Everything, and how it stands to what is intended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InventoryReport {
    /// Object by object: what is missing and unowned first.
    pub items: Vec<Item>,
    /// What could not be read, and why: nothing is said of it.
    pub unknown: Vec<String>,
    /// What the daemon took over when it started; `None` until it could look.
    pub adoption: Option<Adoption>,
    /// The tap pool's counts. `None`: they could not be read, or daemon or
    /// helper are older than these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolCounts>,
    /// Tables of iptables-legacy that packets are filtered by: `ip filter`.
    /// `None`, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy_tables: Option<Vec<String>>,
}

/// The tap pool, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolCounts {
    /// Taps that are to be kept warm; `None`: the helper wasn't told since it began.
    pub size: Option<u8>,
    /// Taps that a VM could have at once.
    pub warm: u32,
    /// Taps that VMs have.
    pub in_use: u32,
    /// Taps that a crash left between pool and VM; the next warm-up takes them back.
    pub unfinished: u32,
    /// Taps that were made for the pool since the helper began.
    pub created: u64,
    /// Taps that could not be, since the helper began.
    pub failed: u64,
}

impl From<TapPool> for PoolCounts {
    fn from(pool: TapPool) -> Self {
        Self {
            size: pool.size.map(PoolSize::get),
            warm: pool.warm,
            in_use: pool.in_use,
            unfinished: pool.unfinished,
            created: pool.created,
            failed: pool.failed,
        }
    }
}

/// As people read it.
impl fmt::Display for PoolCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            warm,
            in_use,
            unfinished,
            created,
            failed,
            ..
        } = self;
        write!(
            f,
            "{warm} warm, {in_use} in use, {created} created, {failed} failed"
        )?;
        if *unfinished > 0 {
            write!(f, ", {unfinished} unfinished")?;
        }
        Ok(())
    }
}

impl InventoryReport {
    /// How many objects are in this state.
    pub fn count(&self, state: State) -> usize {
        self.items.iter().filter(|item| item.state == state).count()
    }

    /// Everything could be read, nothing is unowned and nothing is missing.
    pub fn is_exact(&self) -> bool {
        self.unknown.is_empty()
            && self.count(State::Unowned) == 0
            && self.count(State::Missing) == 0
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// How it stands.
    pub state: State,
    /// What it is.
    pub object: Object,
    /// The kernel's name for it, or its path.
    pub name: String,
    /// The VM that it carries the tag of.
    pub uid: Option<VmUid>,
    /// That VM's name, where an intent knows it.
    pub vm: Option<Name>,
    /// Why it is in that state; empty where it is as it should be.
    pub why: String,
    /// The command that mends it.
    pub remedy: Option<String>,
}

/// How an object stands to what is intended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It should be there and isn't.
    Missing,
    /// It is ours and no intent knows of it.
    Unowned,
    /// A scratch file that says what isn't so. It is a hint only.
    Stale,
    /// An import that nothing needs any more. No leak: images are kept until
    /// somebody asks for them to go.
    Unneeded,
    /// It looks like ours and isn't: left alone.
    Foreign,
    /// Something is being done for its VM right now.
    Changing,
    /// It is there for an intent.
    Owned,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A Firecracker process.
    Vmm,
    /// A jail or a failed unit that a VMM left.
    Jail,
    /// A tap.
    Tap,
    /// A loop device.
    Loop,
    /// A device-mapper device.
    Dm,
    /// A VM's directory.
    Directory,
    /// `handles.json`.
    Scratch,
    /// An image that was not finished, or not wholly removed.
    Staging,
    /// An imported image.
    Image,
    /// The bridge.
    Bridge,
    /// The NAT table.
    Nat,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vmm => "VMM",
            Self::Jail => "jail",
            Self::Tap => "tap",
            Self::Loop => "loop device",
            Self::Dm => "dm device",
            Self::Directory => "directory",
            Self::Scratch => "scratch file",
            Self::Staging => "half-made image",
            Self::Image => "image",
            Self::Bridge => "bridge",
            Self::Nat => "NAT table",
        })
    }
}
