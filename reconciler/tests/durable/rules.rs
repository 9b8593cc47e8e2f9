//! What must be on the disk, and when (fsync(2), rename(2)).
//!
//! ```text
//! written -> synced -> given its name -> the directory synced
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::calls::{Call, Does};

/// Files that may be lost, by name, and why.
pub(crate) const HINTS: [(&str, &str); 1] = [(
    "handles.json",
    "what the kernel holds, for people to read: it decides nothing, and is written anew \
     at every pass",
)];

/// What was found below a root.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What got its name by a rename or a link, in order, below the root.
    pub(crate) placed: Vec<PathBuf>,
    /// The hints among that.
    pub(crate) hints: BTreeSet<&'static str>,
    /// Where the order wasn't kept, in words.
    pub(crate) broken: Vec<String>,
}

/// Holds what was done below `root` to the rules.
pub(crate) fn judge(calls: &[Call], root: &Path) -> Verdict {
    let order = Order { calls, root };
    let mut verdict = Verdict::default();
    for call in calls {
        match &call.does {
            Does::Place { from, to } if to.starts_with(root) => match hint(to) {
                Some(hint) => {
                    verdict.hints.insert(hint);
                }
                None => {
                    verdict.broken.extend(order.placed(call, from, to));
                    let below = to.strip_prefix(root).unwrap_or(to);
                    verdict.placed.push(below.to_owned());
                }
            },
            Does::Make(directory) if directory.starts_with(root) => {
                verdict.broken.extend(order.made(call, directory));
            }
            // A document that somebody removed must not be back.
            Does::Remove(path) if path.starts_with(root) && is_document(path) => {
                let name = order.names(call, path);
                verdict
                    .broken
                    .extend(name.map(|why| format!("{why}, removed")));
            }
            _ => {}
        }
    }
    verdict
}

fn hint(path: &Path) -> Option<&'static str> {
    let mut names = HINTS.iter().map(|(name, _)| *name);
    names.find(|name| path.ends_with(name))
}

/// A hint, or the draft of one.
fn is_passing(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    HINTS.iter().any(|(hint, _)| name.starts_with(*hint))
}

fn is_document(path: &Path) -> bool {
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    path.extension().is_some_and(|it| it == "yaml") && !path.file_name().is_some_and(hidden)
}

struct Order<'a> {
    calls: &'a [Call],
    root: &'a Path,
}

impl Order<'_> {
    /// What is wrong with a file or a directory that gets its name by this call.
    fn placed(&self, call: &Call, from: &Path, to: &Path) -> Vec<String> {
        let shown = to.display();
        let mut broken = Vec::new();
        if let Some(unsynced) = self.unsynced(from, call.began) {
            let unsynced = unsynced.display();
            broken.push(format!("{shown} got its name before {unsynced} was synced"));
        }
        broken.extend(self.names(call, to));
        // Where it was it must not be again.
        if from.parent() != to.parent() && from.starts_with(self.root) {
            broken.extend(self.names(call, from));
        }
        broken
    }

    /// The name of this path is given or taken by this call: its directory must be
    /// synced before the same thread does more to names.
    fn names(&self, call: &Call, path: &Path) -> Option<String> {
        let next = self.calls.iter().find(|next| {
            next.thread == call.thread && next.began > call.over && self.is_of_names(next)
        });
        let until = next.map_or(usize::MAX, |next| next.began);
        let directory = path.parent()?;
        let synced = self.is_synced(directory, call.over, until);
        let (path, directory) = (path.display(), directory.display());
        (!synced).then(|| format!("{path}: {directory} wasn't synced before what came next"))
    }

    fn is_of_names(&self, call: &Call) -> bool {
        match &call.does {
            Does::Place { to, .. } => to.starts_with(self.root) && hint(to).is_none(),
            Does::Remove(path) => path.starts_with(self.root),
            _ => false,
        }
    }

    /// A directory that was made and in which something durable lies: its own name
    /// must be durable, too.
    fn made(&self, call: &Call, directory: &Path) -> Option<String> {
        let places = self.calls.iter().filter_map(|call| match &call.does {
            Does::Place { from, to } => Some((from, to)),
            _ => None,
        });
        let mut used = false;
        for (from, to) in places {
            // It got another name, which is held to the rules above.
            if from == directory {
                return None;
            }
            used |= to.starts_with(directory) && hint(to).is_none();
        }
        let parent = directory.parent()?;
        let synced = self.is_synced(parent, call.over, usize::MAX);
        let (directory, parent) = (directory.display(), parent.display());
        (used && !synced).then(|| format!("{directory} was made, and {parent} never synced"))
    }

    /// Of a file, or of all in a directory that moves as a whole: what was changed
    /// before this line and not synced since.
    fn unsynced(&self, path: &Path, before: usize) -> Option<PathBuf> {
        let mut written: BTreeMap<&Path, usize> = BTreeMap::new();
        let mut inside: BTreeSet<&Path> = BTreeSet::new();
        let mut named = None;
        for call in self.calls.iter().filter(|call| call.over < before) {
            let (name, anew) = match &call.does {
                Does::Write(name) | Does::Open(name) | Does::Make(name) => (name, false),
                Does::Place { from, to } => {
                    written.retain(|it, _| !it.starts_with(from));
                    inside.remove(&**from);
                    (to, true)
                }
                Does::Remove(name) => {
                    written.remove(&**name);
                    inside.remove(&**name);
                    continue;
                }
                Does::Sync(_) => continue,
            };
            if is_passing(name) {
                continue;
            }
            if matches!(call.does, Does::Write(_)) && name.starts_with(path) {
                written.insert(name, call.over);
            }
            if name.parent() == Some(path) && (inside.insert(name) || anew) {
                named = Some(call.over);
            }
        }
        let late = written
            .into_iter()
            .find(|(it, at)| !self.is_synced(it, *at, before));
        let names = named.filter(|at| !self.is_synced(path, *at, before));
        late.map(|(it, _)| it.to_owned())
            .or_else(|| names.map(|_| path.to_owned()))
    }

    fn is_synced(&self, path: &Path, after: usize, before: usize) -> bool {
        self.calls.iter().any(|call| {
            let is = matches!(&call.does, Does::Sync(synced) if synced == path);
            is && call.began > after && call.over < before
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::parse;

    const OPENED: &str =
        "1 openat(AT_FDCWD</>, \"/r/d/.new\", O_RDWR|O_CREAT|O_EXCL, 0644) = 3</r/d/.new>";
    const WRITTEN: &str = "1 write(3</r/d/.new>, \"\"..., 1) = 1";
    const SYNCED: &str = "1 fsync(3</r/d/.new>) = 0";
    const PLACED: &str = "1 rename(\"/r/d/.new\", \"/r/d/a.yaml\") = 0";
    const NAMED: &str = "1 fsync(4</r/d>) = 0";

    fn broken(trace: &[&str]) -> Vec<String> {
        judge(&parse(&trace.join("\n")), Path::new("/r")).broken
    }

    #[test]
    fn the_order_is_kept() {
        let verdict = judge(
            &parse(&[OPENED, WRITTEN, SYNCED, PLACED, NAMED].join("\n")),
            Path::new("/r"),
        );
        assert_eq!(verdict.broken, [""; 0]);
        assert_eq!(verdict.placed, [Path::new("d/a.yaml")]);
    }

    #[test]
    fn each_other_order_is_found_out() {
        let other = "2 fsync(4</r/d>) = 0";
        let next = "1 rename(\"/r/d/b.new\", \"/r/d/b\") = 0";
        for (trace, what) in [
            (&[OPENED, WRITTEN, PLACED, NAMED][..], ".new was synced"),
            (&[OPENED, SYNCED, WRITTEN, PLACED, NAMED], ".new was synced"),
            (&[OPENED, WRITTEN, PLACED, SYNCED, NAMED], ".new was synced"),
            (&[OPENED, PLACED, NAMED], ".new was synced"),
            (&[OPENED, WRITTEN, SYNCED, PLACED], "/r/d wasn't synced"),
            (
                &[OPENED, WRITTEN, SYNCED, NAMED, PLACED],
                "/r/d wasn't synced",
            ),
            (
                &[OPENED, WRITTEN, SYNCED, other, PLACED],
                "/r/d wasn't synced",
            ),
            (
                &[OPENED, WRITTEN, SYNCED, PLACED, next, NAMED],
                "a.yaml: /r/d wasn't synced",
            ),
        ] {
            let broken = broken(trace);
            assert_eq!(broken.len(), 1, "{trace:?}: {broken:?}");
            assert!(broken[0].contains(what), "{trace:?}: {broken:?}");
        }
    }

    #[test]
    fn both_directories_of_a_move_count_and_all_that_moves() {
        let made = "1 mkdir(\"/r/d/e\", 0700) = 0";
        let written = "1 write(3</r/d/e/f>, \"\"..., 1) = 1";
        let synced = "1 fsync(3</r/d/e/f>) = 0";
        let inside = "1 fsync(3</r/d/e>) = 0";
        let moved = "1 rename(\"/r/d/e\", \"/r/t/e\") = 0";
        let there = "1 fsync(3</r/t>) = 0";
        let all = [made, written, synced, inside, moved, there, NAMED];
        assert_eq!(broken(&all), [""; 0]);
        for left_out in [synced, inside, there, NAMED] {
            let trace: Vec<_> = all.into_iter().filter(|line| *line != left_out).collect();
            assert_eq!(broken(&trace).len(), 1, "without {left_out}");
        }
    }

    #[test]
    fn a_new_directory_and_a_removed_document_count() {
        let made = "1 mkdir(\"/r/d\", 0700) = 0";
        let named = "1 fsync(5</r>) = 0";
        let all = [made, named, OPENED, WRITTEN, SYNCED, PLACED, NAMED];
        assert_eq!(broken(&all), [""; 0]);
        assert_eq!(
            broken(&[made, OPENED, WRITTEN, SYNCED, PLACED, NAMED]).len(),
            1
        );
        // Nothing lies in it.
        assert_eq!(broken(&[made]), [""; 0]);
        let removed = "1 unlink(\"/r/d/a.yaml\") = 0";
        assert_eq!(broken(&[removed, NAMED]), [""; 0]);
        assert_eq!(broken(&[removed]).len(), 1);
        assert_eq!(broken(&["1 unlink(\"/r/d/.a.yaml\") = 0"]), [""; 0]);
    }

    #[test]
    fn a_hint_needs_none_of_it_and_is_told() {
        let written = "1 write(3</r/d/handles.json.new>, \"\"..., 1) = 1";
        let placed = "1 rename(\"/r/d/handles.json.new\", \"/r/d/handles.json\") = 0";
        let verdict = judge(&parse(&[written, placed].join("\n")), Path::new("/r"));
        assert_eq!((verdict.broken.len(), verdict.placed.len()), (0, 0));
        assert!(verdict.hints.contains("handles.json"));
    }
}
