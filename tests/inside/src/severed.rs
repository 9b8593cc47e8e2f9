//! The real host, whose helper is cut off at one of its requests: before the helper
//! hears it, or after it did what it says and before anybody hears of that. From
//! then on nothing is heard or done, as if the helper had died, until the step that
//! failed is done again, or for a moment, where whoever asks has a patience of its own.
//!
//! ```text
//! real host -> relay (counts requests, cuts) -> helper
//!     ^-- again, once, when a step failed for the cut
//! ```
//!
//! The requests are counted, not listed: one that is new is cut off, too.

mod again;
mod relay;
mod tally;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use again::Again;
pub use relay::relay;
pub use tally::Tally;

/// Where a request is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The helper never hears of it.
    Before,
    /// It is done, and the answer is lost.
    After,
}

/// A request that passed or was cut off.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    /// Its operation.
    pub op: String,
    /// What kind of answer went back: `changed`, `unchanged`, `error`; none did
    /// where it was cut off.
    pub answer: Option<String>,
}

/// What passes through a relay, and where it is cut.
#[derive(Clone, Debug, Default)]
pub struct Line(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Each request so far.
    heard: Vec<Heard>,
    aim: Option<(usize, Cut)>,
    /// Since when.
    down: Option<Instant>,
    /// How long it stays so, if nobody mends it.
    moment: Option<Duration>,
}

/// What is to become of a request.
struct Passage {
    /// Its number; those that come while the line is down have none.
    number: Option<usize>,
    cut: Option<Cut>,
}

impl Line {
    /// Cuts off the request that comes after so many others.
    #[must_use]
    pub fn cut_at(request: usize, cut: Cut) -> Self {
        let line = Self::default();
        line.state().aim = Some((request, cut));
        line
    }

    /// It is whole again by itself, so long after it was cut.
    #[must_use]
    pub fn mending_after(self, moment: Duration) -> Self {
        self.state().moment = Some(moment);
        self
    }

    /// The requests that passed or were cut off, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.state().heard.clone()
    }

    /// Whether it was cut, and nothing has been done about that yet; mends it.
    fn mend(&self) -> bool {
        self.state().down.take().is_some()
    }

    fn pass(&self, op: String) -> Passage {
        let mut state = self.state();
        if let Some(since) = state.down {
            if state.moment.is_none_or(|moment| since.elapsed() < moment) {
                let (number, cut) = (None, Some(Cut::Before));
                return Passage { number, cut };
            }
            state.down = None;
        }
        let number = state.heard.len();
        state.heard.push(Heard { op, answer: None });
        let aim = state.aim.filter(|(at, _)| *at == number);
        let cut = aim.map(|(_, cut)| cut);
        state.down = cut.map(|_| Instant::now());
        let number = Some(number);
        Passage { number, cut }
    }

    /// The answer to a request goes back.
    fn answered(&self, number: Option<usize>, answer: String) {
        let mut state = self.state();
        if let Some(heard) = number.and_then(|number| state.heard.get_mut(number)) {
            heard.answer = Some(answer);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
