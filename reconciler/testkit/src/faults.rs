//! Faults at call sites.
//!
//! ```text
//! enter(site) -> error before | crash before | no answer | half of it | the call itself
//!                                                            -> error after | crash after
//! ```
//!
//! What half of a call is, the one that makes it knows.
//!
//! Guarantees: a site is named by what is called and by the how-manieth call
//! of it this is, so that a history that was recorded once can be repeated
//! with a fault at each of its calls; after a crash nothing is carried out
//! until [`Faults::revive`], as no daemon is there that could ask.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// What strikes, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// An error; nothing has happened yet.
    Before,
    /// An error; it has happened, and only the answer is lost.
    After,
    /// The daemon dies; nothing has happened yet.
    CrashBefore,
    /// The daemon dies; it has happened.
    CrashAfter,
    /// No answer ever comes; nothing has happened.
    Timeout,
    /// An error: whoever did it, such as the helper, died in the middle of it.
    Half,
}

impl When {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Before,
        Self::After,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Timeout,
        Self::Half,
    ];
}

/// A fault at the n-th step of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the step, from 0, over the life of the host.
    pub call: u64,
    /// What strikes.
    pub when: When,
}

/// A call: of what, and the how-manieth of it, from 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// What is called, such as `attaching the base loop`.
    pub name: String,
    /// How many calls of it came before.
    pub nth: u32,
}

/// Why a call didn't do what it should have.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// An error, with what it says.
    Error(String),
    /// The caller is gone, or never hears of it.
    NoAnswer,
}

/// All faults to come, and the calls so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
    down: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct Inner {
    steps: u64,
    planned: Vec<Fault>,
    aimed: Option<(Site, When)>,
    struck: bool,
    recording: bool,
    seen: BTreeMap<String, u32>,
    log: Vec<Site>,
    crashed: bool,
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans a fault at the n-th step.
    pub fn add(&self, fault: Fault) {
        self.inner().planned.push(fault);
    }

    /// Begins to record calls, from none; forgets what was aimed at before.
    pub fn record(&self) {
        let mut inner = self.inner();
        inner.recording = true;
        inner.seen.clear();
        inner.log.clear();
        inner.aimed = None;
        inner.struck = false;
    }

    /// Records from none, and strikes at this call.
    pub fn aim(&self, site: Site, when: When) {
        self.record();
        self.inner().aimed = Some((site, when));
    }

    /// The calls since [`Self::record`].
    pub fn recorded(&self) -> Vec<Site> {
        self.inner().log.clone()
    }

    /// Whether what was aimed at came.
    pub fn struck(&self) -> bool {
        self.inner().struck
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.inner().steps
    }

    /// Whether a crash struck and nobody revived the daemon yet.
    pub fn has_crashed(&self) -> bool {
        self.inner().crashed
    }

    /// Resolves once the daemon is to be taken for dead: it crashed, or hangs.
    pub async fn down(&self) {
        let mut down = self.down.subscribe();
        // The sender lives as long as this.
        let _ = down.wait_for(|down| *down).await;
    }

    /// Another daemon runs.
    pub fn revive(&self) {
        self.inner().crashed = false;
        self.down.send_replace(false);
    }

    /// A call begins; `step`: it counts as a step of the host.
    pub fn enter(&self, name: &str, step: bool) -> Result<Option<When>, Trouble> {
        let mut inner = self.inner();
        if inner.crashed {
            return Err(Trouble::NoAnswer);
        }
        let mut when = None;
        if step {
            let call = inner.steps;
            inner.steps += 1;
            let planned = inner.planned.iter().position(|fault| fault.call == call);
            when = planned.map(|at| inner.planned.swap_remove(at).when);
        }
        if inner.recording {
            let seen = inner.seen.entry(name.to_owned()).or_default();
            let nth = *seen;
            *seen += 1;
            let site = Site {
                name: name.to_owned(),
                nth,
            };
            if let Some((aimed, fault)) = &inner.aimed
                && *aimed == site
            {
                when = Some(*fault);
                inner.struck = true;
            }
            inner.log.push(site);
        }
        match when {
            Some(When::Before) => Err(Trouble::Error(format!("injected: {name} (before)"))),
            Some(When::CrashBefore) => {
                inner.crashed = true;
                drop(inner);
                self.down.send_replace(true);
                Err(Trouble::NoAnswer)
            }
            Some(When::Timeout) => {
                drop(inner);
                self.down.send_replace(true);
                Err(Trouble::NoAnswer)
            }
            after => Ok(after),
        }
    }

    /// A call that [`Self::enter`] let through is over.
    pub fn leave(&self, name: &str, when: Option<When>) -> Result<(), Trouble> {
        match when {
            Some(When::After) => Err(Trouble::Error(format!("injected: {name} (after)"))),
            Some(When::Half) => Err(Trouble::Error(format!("injected: {name} (half-way)"))),
            Some(When::CrashAfter) => {
                self.inner().crashed = true;
                self.down.send_replace(true);
                Err(Trouble::NoAnswer)
            }
            // Somebody else's call killed the daemon meanwhile.
            _ if self.has_crashed() => Err(Trouble::NoAnswer),
            _ => Ok(()),
        }
    }
}

/// What the caller of a call that went so hears: where that is nothing, this
/// never resolves.
pub async fn heard<T>(answer: Result<T, Trouble>) -> Result<T, String> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(Trouble::Error(message)) => Err(message),
        Err(Trouble::NoAnswer) => pending().await,
    }
}
