//! The real host, whose helper is cut off at one of its requests: before the helper
//! hears it, or after it did what it says and before anybody hears of that. From
//! then on nothing is heard or done, as if the helper had died, until the step that
//! failed is done again.
//!
//! ```text
//! real host -> relay (counts requests, cuts) -> helper
//!     ^-- again, once, when a step failed for the cut
//! ```
//!
//! The requests are counted, not listed: one that is new is cut off, too.

mod again;
mod relay;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use again::Again;
pub use relay::relay;

/// Where a request is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The helper never hears of it.
    Before,
    /// It is done, and the answer is lost.
    After,
}

/// What passes through a relay, and where it is cut.
#[derive(Clone, Debug, Default)]
pub struct Line(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The operation of each request so far.
    heard: Vec<String>,
    aim: Option<(usize, Cut)>,
    down: bool,
}

impl Line {
    /// Cuts off the request that comes after so many others.
    #[must_use]
    pub fn cut_at(request: usize, cut: Cut) -> Self {
        let line = Self::default();
        line.state().aim = Some((request, cut));
        line
    }

    /// The operations that passed or were cut off, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.state().heard.clone()
    }

    /// Whether it was cut, and nothing has been done about that yet; mends it.
    fn mend(&self) -> bool {
        std::mem::take(&mut self.state().down)
    }

    /// What is to become of a request.
    fn pass(&self, op: String) -> Option<Cut> {
        let mut state = self.state();
        if state.down {
            return Some(Cut::Before);
        }
        let number = state.heard.len();
        state.heard.push(op);
        let cut = state
            .aim
            .filter(|(at, _)| *at == number)
            .map(|(_, cut)| cut);
        state.down = cut.is_some();
        cut
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
