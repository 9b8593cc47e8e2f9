//! File events, reduced to "something may have changed".
//!
//! Nothing is concluded from an event, not even from its path; an overflow of
//! the kernel's queue is an event like any other. Where a directory can't be
//! watched, the periodic resync finds what changed there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::stamp::Stamp;

/// Watches directories, not their subdirectories.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    armed: BTreeMap<PathBuf, (u64, u64)>,
    complained: BTreeSet<PathBuf>,
}

impl Watch {
    /// A watch of nothing yet, that tells `changed`.
    pub fn new(changed: Arc<Notify>) -> notify::Result<Self> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if wakes(&event) {
                changed.notify_one();
            }
        })?;
        Ok(Self {
            watcher,
            armed: BTreeMap::new(),
            complained: BTreeSet::new(),
        })
    }

    /// Watches exactly these directories. One that was replaced by another of
    /// the same name is watched anew. `true`: some weren't watched before.
    pub fn arm(&mut self, directories: &BTreeSet<PathBuf>) -> bool {
        let wanted: BTreeMap<PathBuf, (u64, u64)> = directories
            .iter()
            .filter_map(|path| Some((path.clone(), identity(path)?)))
            .collect();
        for (path, was) in std::mem::take(&mut self.armed) {
            if wanted.get(&path) == Some(&was) {
                self.armed.insert(path, was);
            } else {
                // The kernel dropped it already where the directory is gone.
                let _ = self.watcher.unwatch(&path);
            }
        }
        let mut new = false;
        for (path, is) in wanted {
            if self.armed.contains_key(&path) {
                continue;
            }
            match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.complained.remove(&path);
                    self.armed.insert(path, is);
                    new = true;
                }
                Err(error) if self.complained.insert(path.clone()) => tracing::warn!(
                    "can't watch {}: {error}; changes there are seen at the next resync",
                    path.display()
                ),
                Err(_) => {}
            }
        }
        new
    }
}

/// Whether something may have changed. Our own reading is an event too, and must
/// not wake us; that events were lost, or that watching fails, must.
pub(super) fn wakes(event: &notify::Result<Event>) -> bool {
    let Ok(event) = event else { return true };
    let read = matches!(event.kind, EventKind::Access(kind)
        if kind != AccessKind::Close(AccessMode::Write));
    !read || event.need_rescan()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    metadata.is_dir().then(|| Stamp::of(&metadata).identity())
}
