//! Which directories must be watched for a path to be known.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// As many links as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Adds the directory that holds `path`, and, where it is a symbolic link,
/// those that hold what it leads to, hop by hop.
pub(super) fn add_parents(path: &Path, parents: &mut BTreeSet<PathBuf>) {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Some(parent) = path.parent().map(Path::to_owned) else {
            return;
        };
        parents.insert(parent.clone());
        match fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => return,
        }
    }
}
