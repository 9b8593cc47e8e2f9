//! What an agent has said last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use banger_core::observed::Guest;
use tokio::sync::Notify;

/// The last word of one guest during one run of its VMM.
pub struct Word {
    last: Mutex<Guest>,
    changed: Arc<Notify>,
}

impl Word {
    /// Nothing said yet; `changed` is notified whenever that changes.
    pub fn silent(changed: Arc<Notify>) -> Self {
        Self {
            last: Mutex::new(Guest::Silent),
            changed,
        }
    }

    /// The last word.
    pub fn last(&self) -> Guest {
        self.lock().clone()
    }

    /// The agent said something.
    pub fn say(&self, guest: Guest) {
        let mut last = self.lock();
        if *last != guest {
            *last = guest;
            self.changed.notify_one();
        }
    }

    /// The agent doesn't answer any more.
    pub fn lost(&self, why: String) {
        if self.last() == Guest::Ready {
            self.say(Guest::Lost(why));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Guest> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest's text as it may stand on a terminal and in a database: printable,
/// on one line, at most 1,000 characters.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(1_000)
        .collect()
}
