//! When a document that isn't there any more means that its object is to go.
//!
//! Guarantees: only after two complete reads at least [`STABLE_MS`] apart
//! ([`SEVERAL_MS`] where several are missing at once), and all in between,
//! lacked it; never while a file can't be made out; never more than half of a
//! kind (and three at least) within [`WINDOW_MS`]. So a rename-save, a branch
//! switched and switched back, a half-copied file, a renamed document with a typo
//! or an unmounted directory deletes nothing. What the mass guard goes by
//! ([`Guard`]) outlives the daemon: a restart confirms nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::api::bounds::PREVENT_DELETION;
use crate::api::{Kind, Name, prevents_deletion};
use crate::intent::Intents;
use crate::reading::Reading;

/// How long a document must be missing.
pub const STABLE_MS: u64 = 2_000;
/// How long, where others are missing with it: whoever removes one file means
/// it, but many that go at once are a branch that somebody looks into.
pub const SEVERAL_MS: u64 = 60_000;
/// The window of the mass guard.
pub const WINDOW_MS: u64 = 600_000;
/// So few may always go.
const FEW: usize = 2;

type Key = (Kind, Name);

/// A document that the last read lacked.
#[derive(Clone, Copy, Debug)]
struct Missing {
    since_ms: u64,
    /// How long it must be missing. It stays long for one that went together
    /// with others: those may come back one after another.
    stable_ms: u64,
}

/// What the mass guard goes by. It is to be kept with the intents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// What it holds, and why. Once held, an object stays until its document is
    /// back or somebody deletes it by name: waiting confirms nothing.
    pub held: BTreeMap<(Kind, Name), String>,
    /// When objects went because their documents had, within the window.
    pub recent: VecDeque<(u64, Kind)>,
}

/// Remembers since when which documents have been missing. Lost at a restart
/// but for the guard, which only makes deletions wait anew.
#[derive(Clone, Debug, Default)]
pub struct Vanish {
    missing: BTreeMap<Key, Missing>,
    guard: Guard,
    /// A person confirmed that these are to go.
    confirmed: BTreeSet<Key>,
}

/// Why an object stays whose document is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// In one word, for programs.
    pub reason: HeldBy,
    /// For people.
    pub message: String,
}

/// What keeps an object whose document is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// It can't be told that it is: a directory isn't there or can't be read, or a
    /// file that can't be made out might declare it.
    SourceIncomplete,
    /// It is, and that is not enough: too many are, others went with it a moment
    /// ago, or it must not be deleted.
    DocumentMissing,
}

impl HeldBy {
    /// As a condition's reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceIncomplete => "SourceIncomplete",
            Self::DocumentMissing => "DocumentMissing",
        }
    }
}

impl Held {
    fn missing(message: impl Into<String>) -> Self {
        Self {
            reason: HeldBy::DocumentMissing,
            message: message.into(),
        }
    }
}

/// What one read led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vanished {
    /// These are to go.
    pub gone: BTreeSet<Key>,
    /// These are missing and stay, because of this.
    pub held: BTreeMap<Key, Held>,
    /// Of `held`, those that the mass guard holds until somebody confirms.
    pub guarded: BTreeSet<Key>,
    /// A read after so many milliseconds may tell more.
    pub recheck_after_ms: Option<u64>,
}

impl Vanish {
    /// What is to be kept.
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Goes by what was kept.
    pub fn restore(&mut self, guard: Guard) {
        self.guard = guard;
    }

    /// Lets go of what the mass guard holds: the next step takes it for gone
    /// if its document is still missing. Answers whether it was held.
    pub fn confirm(&mut self, key: &(Kind, Name)) -> bool {
        let held = self.guard.held.remove(key).is_some();
        if held {
            self.confirmed.insert(key.clone());
        }
        held
    }

    /// Takes one read into account. `now_ms` is a clock that doesn't go back, and
    /// that goes on where it stood after a restart: how long daemons have run.
    pub fn step(&mut self, reading: &Reading, before: &Intents, now_ms: u64) -> Vanished {
        let declared = declared(reading, before);
        let live = live(before);
        let absent: BTreeSet<Key> = live.difference(&declared).cloned().collect();
        let mut result = Vanished::default();
        if let Some(message) = doubt(reading) {
            self.missing.clear();
            let held = Held {
                reason: HeldBy::SourceIncomplete,
                message,
            };
            result.held = absent.into_iter().map(|key| (key, held.clone())).collect();
            return result;
        }
        let (kept, absent) = absent
            .into_iter()
            .partition::<BTreeSet<Key>, _>(|key| is_protected(before, key));
        self.missing.retain(|key, _| absent.contains(key));
        self.guard.held.retain(|key, _| absent.contains(key));
        self.confirmed.retain(|key| absent.contains(key));
        let (mut ripe, mut due) = (BTreeSet::new(), BTreeSet::new());
        let guarded = self.guard.held.iter();
        result.held = guarded
            .map(|(key, why)| (key.clone(), Held::missing(why)))
            .collect();
        let why = format!(
            "its last good document carries the annotation {PREVENT_DELETION}: put the document \
             back; to delete it, take the annotation out of it first"
        );
        result
            .held
            .extend(kept.into_iter().map(|key| (key, Held::missing(&why))));
        let stable_ms = match absent.len() {
            0 | 1 => STABLE_MS,
            _ => SEVERAL_MS,
        };
        for key in absent
            .into_iter()
            .filter(|key| !self.guard.held.contains_key(key))
        {
            let missing = self.missing.entry(key.clone()).or_insert(Missing {
                since_ms: now_ms,
                stable_ms,
            });
            missing.stable_ms = missing.stable_ms.max(stable_ms);
            let waited = now_ms.saturating_sub(missing.since_ms);
            if waited >= STABLE_MS {
                ripe.insert(key.clone());
            }
            if waited >= missing.stable_ms || self.confirmed.contains(&key) {
                due.insert(key);
                continue;
            }
            let left = if waited < STABLE_MS {
                STABLE_MS - waited
            } else {
                missing.stable_ms - waited
            };
            let next = result.recheck_after_ms.map_or(left, |ms| ms.min(left));
            result.recheck_after_ms = Some(next);
            if missing.stable_ms == SEVERAL_MS {
                let why = format!(
                    "several documents went missing at once: what is still missing after {} s \
                     is deleted",
                    SEVERAL_MS / 1000
                );
                result.held.insert(key, Held::missing(why));
            }
        }
        while self
            .guard
            .recent
            .front()
            .is_some_and(|(at, _)| now_ms.saturating_sub(*at) > WINDOW_MS)
        {
            self.guard.recent.pop_front();
        }
        // What was confirmed doesn't count against the rest.
        for key in std::mem::take(&mut self.confirmed) {
            if due.remove(&key) {
                ripe.remove(&key);
                self.missing.remove(&key);
                result.gone.insert(key);
            } else {
                self.confirmed.insert(key);
            }
        }
        for kind in [Kind::VirtualMachine, Kind::Image] {
            self.guard_kind(kind, &live, (&ripe, &due), now_ms, &mut result);
        }
        result.guarded.extend(self.guard.held.keys().cloned());
        result
    }

    fn guard_kind(
        &mut self,
        kind: Kind,
        live: &BTreeSet<Key>,
        (ripe, due): (&BTreeSet<Key>, &BTreeSet<Key>),
        now_ms: u64,
        result: &mut Vanished,
    ) {
        let of_kind = |set: &BTreeSet<Key>| set.iter().filter(|key| key.0 == kind).count();
        let earlier = self
            .guard
            .recent
            .iter()
            .filter(|(_, gone)| *gone == kind)
            .count();
        let total = of_kind(live) + earlier;
        // Counted as soon as they are known to stay away, whenever they are due.
        let going = of_kind(ripe) + earlier;
        if going > FEW && going * 2 > total {
            for key in ripe.iter().filter(|key| key.0 == kind) {
                let why = format!(
                    "{going} of {total} are missing at once; if that is meant, confirm it with \
                     `banger delete {} {}`, or all of them with `banger apply --prune -f DIR`",
                    key.0.short(),
                    key.1
                );
                self.guard.held.insert(key.clone(), why.clone());
                result.held.insert(key.clone(), Held::missing(why));
            }
            return;
        }
        for key in due.iter().filter(|key| key.0 == kind) {
            self.missing.remove(key);
            self.guard.recent.push_back((now_ms, kind));
            result.gone.insert(key.clone());
        }
    }
}

fn live(intents: &Intents) -> BTreeSet<Key> {
    let vms = intents.vms.values().filter(|vm| vm.deletion.is_none());
    let images = intents
        .images
        .values()
        .filter(|image| image.deletion.is_none());
    vms.map(|vm| (Kind::VirtualMachine, vm.name().clone()))
        .chain(images.map(|image| (Kind::Image, image.name().clone())))
        .collect()
}

/// What some document declares. A VM that is being renamed is declared by the
/// document of its new name, too: that may not be accepted yet.
fn declared(reading: &Reading, intents: &Intents) -> BTreeSet<Key> {
    let mut declared = reading.declared();
    let renamed = intents.vms.values().filter(|vm| {
        vm.renaming.as_ref().is_some_and(|to| {
            // Where there is a VM of that name, it is that one's.
            declared.contains(&(Kind::VirtualMachine, to.clone())) && intents.vm(to).is_none()
        })
    });
    let renamed: Vec<Key> = renamed
        .map(|vm| (Kind::VirtualMachine, vm.name().clone()))
        .collect();
    declared.extend(renamed);
    declared
}

/// Whether the last good document forbids that the object is deleted.
fn is_protected(intents: &Intents, (kind, name): &Key) -> bool {
    let metadata = match kind {
        Kind::VirtualMachine => intents.vm(name).map(|vm| &vm.metadata),
        Kind::Image => intents.image(name).map(|image| &image.metadata),
    };
    metadata.is_some_and(|metadata| prevents_deletion(&metadata.annotations))
}

/// Why this read can't show that something is gone.
fn doubt(reading: &Reading) -> Option<String> {
    if let Some(why) = &reading.incomplete {
        return Some(why.clone());
    }
    let problem = reading.unnamed_problem()?;
    Some(format!(
        "{} can't be made out, and might declare it",
        problem.file.display()
    ))
}
