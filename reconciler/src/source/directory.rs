//! One directory, listed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::names;
use super::stamp::Stamp;

/// A directory as it was found.
pub(super) enum Listing {
    /// It is there; the paths that count, sorted.
    There(Stamp, Vec<PathBuf>),
    /// It isn't.
    Missing,
    /// It can't be read.
    Unreadable(io::Error),
}

/// The files of a directory that count, sorted.
pub(crate) fn listed(path: &Path) -> io::Result<Vec<PathBuf>> {
    read(path).map(|(_, paths)| paths)
}

pub(super) fn list(path: &Path) -> Listing {
    match read(path) {
        Ok((stamp, paths)) => Listing::There(stamp, paths),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Listing::Missing,
        Err(error) => Listing::Unreadable(error),
    }
}

fn read(path: &Path) -> io::Result<(Stamp, Vec<PathBuf>)> {
    let stamp = Stamp::of(&fs::metadata(path)?);
    let mut paths = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if names::counts(&entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok((stamp, paths))
}
