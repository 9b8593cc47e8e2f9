//! The tap pool's numbers: how many taps are kept warm, and how many are made
//! at once. Bounded here, so that no request can ask for a host full of taps.

use serde::{Deserialize, Serialize};

/// How many taps are kept warm, 0 to [`PoolSize::MOST`]. None at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PoolSize(u8);

/// How many taps are made at once, 1 to [`WarmUps::MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct WarmUps(u8);

/// A number beyond the pool's quota.
#[derive(Debug, thiserror::Error)]
#[error("{number} is not from {least} to {most}, the quota of the tap pool")]
pub struct BeyondPool {
    number: u8,
    least: u8,
    most: u8,
}

impl PoolSize {
    /// The quota on taps that are made to be warm.
    pub const MOST: u8 = 64;
    /// No pool: its taps go.
    pub const EMPTY: Self = Self(0);

    /// The number itself.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// How many warm taps may stand, twice the size. The pool is full again soon
    /// after a VM took one: without the room beyond, the tap that a VM gives back
    /// would always be one too many.
    pub const fn most_kept(self) -> u16 {
        self.0 as u16 * 2
    }
}

impl WarmUps {
    /// One after another.
    pub const ONE: Self = Self(1);

    /// The quota on taps that are being made.
    pub const MOST: u8 = 16;

    /// The number itself, at least 1.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for PoolSize {
    type Error = BeyondPool;

    fn try_from(number: u8) -> Result<Self, BeyondPool> {
        within(number, 0, Self::MOST).map(Self)
    }
}

impl TryFrom<u8> for WarmUps {
    type Error = BeyondPool;

    fn try_from(number: u8) -> Result<Self, BeyondPool> {
        within(number, 1, Self::MOST).map(Self)
    }
}

impl From<PoolSize> for u8 {
    fn from(size: PoolSize) -> Self {
        size.0
    }
}

impl From<WarmUps> for u8 {
    fn from(warm_ups: WarmUps) -> Self {
        warm_ups.0
    }
}

fn within(number: u8, least: u8, most: u8) -> Result<u8, BeyondPool> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(BeyondPool {
            number,
            least,
            most,
        })
    }
}
