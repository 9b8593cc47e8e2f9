//! One full read.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banger_core::parse::parse;
use banger_core::reading::{FileReading, Reading};
use banger_core::validate::{Context, validate};

use super::directory::{self, Listing};
use super::file::{self, Unread};
use super::links;
use super::stamp::Stamp;
use crate::wire::request::OverlayFile;

/// A file that changed less long ago is read again each time: the grain of a
/// file system's clock is a few milliseconds, a second on old ones.
pub const SETTLED: Duration = Duration::from_secs(2);

/// How often a read that was overtaken by a change starts anew.
const ATTEMPTS: u32 = 3;

/// The directories of specs, and what their files held last.
#[derive(Clone, Debug)]
pub struct Sources {
    directories: Vec<PathBuf>,
    context: Context,
    cache: HashMap<PathBuf, Cached>,
    watched: BTreeSet<PathBuf>,
    /// Device and inode of each directory when it last held something.
    inhabited: HashMap<PathBuf, (u64, u64)>,
}

#[derive(Clone, Debug)]
struct Cached {
    stamp: Stamp,
    reading: FileReading,
}

/// The directories changed while they were read.
struct Overtaken(PathBuf);

impl Sources {
    /// Reads these directories, not their subdirectories. `home` is what `~/`
    /// stands for in documents.
    pub fn new(directories: &[PathBuf], home: &Path) -> Self {
        // One that is given twice would declare everything twice.
        let unique: BTreeSet<PathBuf> = directories.iter().cloned().collect();
        Self {
            directories: unique.into_iter().collect(),
            context: Context {
                home: home.to_owned(),
            },
            cache: HashMap::new(),
            watched: BTreeSet::new(),
            inhabited: HashMap::new(),
        }
    }

    /// Directories in which a change may change what is read; as of the last read.
    pub const fn watched(&self) -> &BTreeSet<PathBuf> {
        &self.watched
    }

    /// Reads everything. `declared` are the files that objects are known to
    /// come from: a directory that isn't there is empty if none did, and else
    /// makes the reading incomplete.
    pub fn read<'a>(&mut self, declared: impl Iterator<Item = &'a PathBuf> + Clone) -> Reading {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match self.attempt(declared.clone()) {
                Ok(reading) => return reading,
                Err(overtaken) => last = Some(overtaken),
            }
        }
        let path = last.map(|Overtaken(path)| path).unwrap_or_default();
        let mut reading = self.remembered();
        reading.incomplete = Some(format!("{} is being changed", path.display()));
        reading
    }

    /// As [`Self::read`], with some files as they would be.
    pub fn read_with<'a>(
        &mut self,
        overlay: &[OverlayFile],
        declared: impl Iterator<Item = &'a PathBuf> + Clone,
    ) -> Reading {
        let mut reading = self.read(declared);
        for file in overlay {
            let at = position(&reading, &file.path);
            match (&file.text, at) {
                (Some(text), at) => {
                    // Relative paths in a document go by where it will stand.
                    let path = at.map_or(&file.path, |at| &reading.files[at].path).clone();
                    let new = documents(&path, text.as_bytes(), &self.context);
                    match at {
                        Some(at) => reading.files[at] = new,
                        None => reading.files.push(new),
                    }
                }
                (None, Some(at)) => {
                    reading.files.remove(at);
                }
                (None, None) => {}
            }
        }
        reading.files.sort_by(|a, b| a.path.cmp(&b.path));
        reading
    }

    /// The files as they were read last, where a directory can't be read now.
    fn remembered(&self) -> Reading {
        let mut files: Vec<_> = self
            .cache
            .values()
            .map(|cached| cached.reading.clone())
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Reading {
            files,
            incomplete: None,
        }
    }

    fn attempt<'a>(
        &mut self,
        declared: impl Iterator<Item = &'a PathBuf> + Clone,
    ) -> Result<Reading, Overtaken> {
        let mut reading = Reading::default();
        let mut watched = BTreeSet::new();
        let mut seen = HashMap::new();
        for directory in self.directories.clone() {
            links::add_parents(&directory, &mut watched);
            watched.insert(directory.clone());
            let (stamp, paths) = match directory::list(&directory) {
                Listing::There(stamp, paths) => (stamp, paths),
                Listing::Missing => {
                    let parent = directory.parent().is_some_and(Path::is_dir);
                    if !parent || declared.clone().any(|path| path.starts_with(&directory)) {
                        reading.incomplete =
                            Some(format!("the directory {} isn't there", directory.display()));
                    }
                    continue;
                }
                Listing::Unreadable(error) => {
                    reading.incomplete = Some(format!(
                        "the directory {} can't be read: {error}",
                        directory.display()
                    ));
                    continue;
                }
            };
            if !paths.is_empty() {
                self.inhabited.insert(directory.clone(), stamp.identity());
            } else if self.inhabited.get(&directory) != Some(&stamp.identity())
                && declared.clone().any(|path| path.starts_with(&directory))
            {
                // What a mount point looks like while nothing is mounted. The
                // directory that was seen with files in it may become empty.
                reading.incomplete = Some(format!(
                    "the directory {} is empty and not the one that held documents before: \
                     is something not mounted?",
                    directory.display()
                ));
                continue;
            }
            for path in paths {
                let link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
                if link {
                    links::add_parents(&path, &mut watched);
                }
                let file = self.file(&path, &mut seen)?;
                reading.files.push(file);
            }
            match directory::list(&directory) {
                Listing::There(after, _) if after == stamp => {}
                _ => return Err(Overtaken(directory)),
            }
        }
        self.cache = seen;
        self.watched = watched;
        reading.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(reading)
    }

    fn file(
        &mut self,
        path: &Path,
        seen: &mut HashMap<PathBuf, Cached>,
    ) -> Result<FileReading, Overtaken> {
        let read = file::stamp(path).and_then(|stamp| {
            if let Some(known) = self.cache.get(path)
                && known.stamp == stamp
                && stamp.is_older_than(SETTLED)
            {
                return Ok(known.clone());
            }
            let bytes = file::read(path, stamp)?;
            let reading = documents(path, &bytes, &self.context);
            Ok(Cached { stamp, reading })
        });
        match read {
            Ok(cached) => {
                seen.insert(path.to_owned(), cached.clone());
                Ok(cached.reading)
            }
            Err(Unread::Moving) => Err(Overtaken(path.to_owned())),
            Err(Unread::Problem(problem)) => Ok(FileReading {
                path: path.to_owned(),
                validated: Vec::new(),
                problems: vec![*problem],
            }),
        }
    }
}

/// Parses and validates the documents of a file.
fn documents(path: &Path, bytes: &[u8], context: &Context) -> FileReading {
    let parsed = parse(path, bytes);
    let mut reading = FileReading {
        path: path.to_owned(),
        validated: Vec::new(),
        problems: parsed.problems,
    };
    for document in parsed.documents {
        match validate(path, document, context) {
            Ok(validated) => reading.validated.push(validated),
            Err(problems) => reading.problems.extend(problems),
        }
    }
    // A document alone in its file keeps the file's comments with it.
    let alone = reading.validated.len() == 1 && reading.problems.is_empty();
    for validated in &mut reading.validated {
        let own = bytes.get(validated.span.clone()).unwrap_or_default();
        let text = if alone { bytes } else { own };
        validated.text = String::from_utf8_lossy(text).into_owned();
    }
    reading
}

/// Where a file stands in a reading, by its own path or by what both lead to.
fn position(reading: &Reading, path: &Path) -> Option<usize> {
    let same = reading.files.iter().position(|file| file.path == path);
    same.or_else(|| {
        let real = fs::canonicalize(path).ok()?;
        reading
            .files
            .iter()
            .position(|file| fs::canonicalize(&file.path).is_ok_and(|other| other == real))
    })
}
