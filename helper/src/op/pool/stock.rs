//! Which warm taps there are, by number, and which of them are in somebody's
//! hands. A tap has one holder at most: what is taken or held is no one else's
//! until it is let go of.
//!
//! What the kernel shows decides; this is what was last seen of it, and whoever
//! takes a tap looks at it once more.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use banger_protocol::PoolSize;

/// The stock. One leaf lock, never held across an await.
#[derive(Debug, Default)]
pub struct Stock {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    size: Option<PoolSize>,
    /// The kernel was read since the helper began.
    known: bool,
    warm: BTreeSet<u16>,
    /// Numbers of taps on their way out of the pool.
    leaving: BTreeSet<u16>,
    /// Numbers of taps on their way into it.
    coming: BTreeSet<u16>,
    /// Numbers whose name is somebody else's.
    foreign: BTreeSet<u16>,
    /// Interface indexes that an operation works on.
    held: BTreeSet<u32>,
    /// How often a tap came in.
    arrivals: u64,
    created: u64,
    failed: u64,
}

/// When a look at the kernel began.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// A warm tap that was taken. It isn't in stock any more.
#[derive(Debug)]
pub struct Taken<'a> {
    stock: &'a Stock,
    /// `tap-pool-<number>`.
    pub number: u16,
}

/// Room for one tap, under a number of its own.
#[derive(Debug)]
pub struct Room<'a> {
    stock: &'a Stock,
    /// `tap-pool-<number>`.
    pub number: u16,
}

/// An interface that nobody else works on meanwhile.
#[derive(Debug)]
pub struct Held<'a> {
    stock: &'a Stock,
    index: u32,
}

impl Stock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be taken before the kernel is read.
    pub fn mark(&self) -> Mark {
        Mark(self.state().arrivals)
    }

    /// Whether the kernel was read since the helper began.
    pub fn is_known(&self) -> bool {
        self.state().known
    }

    /// Takes over what was read: numbers of warm taps, and those that others have.
    pub fn learn(&self, mark: Mark, warm: &BTreeSet<u16>, foreign: BTreeSet<u16>) {
        let mut state = self.state();
        let State {
            leaving, coming, ..
        } = &*state;
        let mut seen: BTreeSet<u16> = warm.difference(leaving).copied().collect();
        seen.retain(|number| !coming.contains(number));
        if mark.0 == state.arrivals {
            state.warm = seen;
        } else {
            // What came in meanwhile isn't in the picture.
            state.warm.extend(seen);
        }
        state.foreign = foreign;
        state.known = true;
    }

    /// The size in force, once it was told.
    pub fn size(&self) -> Option<PoolSize> {
        self.state().size
    }

    /// Sets it.
    pub fn set_size(&self, size: PoolSize) {
        self.state().size = Some(size);
    }

    /// Takes a warm tap out.
    pub fn take(&self) -> Option<Taken<'_>> {
        let mut state = self.state();
        let number = state.warm.pop_first()?;
        state.leaving.insert(number);
        drop(state);
        Some(Taken {
            stock: self,
            number,
        })
    }

    /// Takes out what is beyond the most that are kept.
    pub fn take_surplus(&self) -> Vec<Taken<'_>> {
        let mut state = self.state();
        let most = state.most_kept();
        let mut taken = Vec::new();
        while state.warm.len() + state.coming.len() > most {
            let Some(number) = state.warm.pop_last() else {
                break;
            };
            state.leaving.insert(number);
            taken.push(Taken {
                stock: self,
                number,
            });
        }
        taken
    }

    /// Reserves room for as many taps as are missing, at most so many.
    pub fn room(&self, most: usize) -> Vec<Room<'_>> {
        self.reserve(State::least_kept, most)
    }

    /// Reserves room for a tap that is there and may be kept.
    pub fn spare_room(&self) -> Option<Room<'_>> {
        self.reserve(State::most_kept, 1).pop()
    }

    fn reserve(&self, limit: fn(&State) -> usize, most: usize) -> Vec<Room<'_>> {
        let mut state = self.state();
        let missing = limit(&state).saturating_sub(state.warm.len() + state.coming.len());
        let numbers: Vec<u16> = (1..=u16::MAX)
            .filter(|number| state.is_free(*number))
            .take(missing.min(most))
            .collect();
        state.coming.extend(&numbers);
        drop(state);
        let room = |number| Room {
            stock: self,
            number,
        };
        numbers.into_iter().map(room).collect()
    }

    /// Holds an interface; `None` while somebody else does.
    pub fn hold(&self, index: u32) -> Option<Held<'_>> {
        let new = self.state().held.insert(index);
        // Lazily: to make one and drop it would let go of the other's.
        new.then(|| Held { stock: self, index })
    }

    /// Counts taps that were made, and those that could not be.
    pub fn count(&self, created: usize, failed: usize) {
        let mut state = self.state();
        state.created += created as u64;
        state.failed += failed as u64;
    }

    /// Taps made, and taps that could not be.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.created, state.failed)
    }
}

impl State {
    fn least_kept(&self) -> usize {
        self.size.map_or(0, |size| size.get().into())
    }

    fn most_kept(&self) -> usize {
        self.size.map_or(0, |size| size.most_kept().into())
    }

    fn is_free(&self, number: u16) -> bool {
        ![&self.warm, &self.leaving, &self.coming, &self.foreign]
            .iter()
            .any(|taken| taken.contains(&number))
    }
}

impl Room<'_> {
    /// The tap is there under its number, and can be had from now on.
    pub fn fill(self) {
        let mut state = self.stock.state();
        state.warm.insert(self.number);
        state.arrivals += 1;
        // The guard's drop takes the number off the list of those to come.
    }
}

impl Held<'_> {
    /// The interface's index.
    pub const fn index(&self) -> u32 {
        self.index
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.stock.state().coming.remove(&self.number);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.stock.state().leaving.remove(&self.number);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.stock.state().held.remove(&self.index);
    }
}

#[cfg(test)]
mod tests;
