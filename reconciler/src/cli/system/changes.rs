//! What an installation changes on this host, so that it can be taken back.
//!
//! ```text
//! directory, file, link ... -> keep (it went well) | take_back (it failed)
//! ```
//!
//! A file that is replaced keeps its inode under a second name in the same
//! directory. Taking it back is one rename: it needs no room on the disk, and
//! owner, mode and content are those of before. A process that is killed in
//! between leaves such names; the next installation removes them.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use super::interrupts::Interrupts;
use super::owner::Owner;
use super::place::{self, Placed};
use super::program;
use crate::cli::{Exit, Failure};

/// A host, as an installation changes it. Paths are absolute.
pub(super) trait Site {
    /// A directory with this owner and mode.
    fn directory(
        &mut self,
        path: &Path,
        owner: Option<(u32, u32)>,
        mode: u32,
    ) -> Result<(), Failure>;

    /// A file of root's with this content and mode.
    fn file(&mut self, path: &Path, content: &[u8], mode: u32) -> Result<Placed, Failure>;

    /// A symbolic link.
    fn link(&mut self, path: &Path, target: &Path) -> Result<Placed, Failure>;

    /// A directory in the owner's home, made by the owner; `private`: for nobody else.
    fn home(&mut self, owner: &Owner, directory: &Path, private: bool) -> Result<(), Failure>;

    /// Runs a program of the host's.
    fn run(&mut self, program: &str, arguments: &[&str]) -> Result<String, Failure>;

    /// Whether something stands there.
    fn exists(&self, path: &Path) -> bool;

    /// Removes what isn't to be taken back, if it is there.
    fn remove(&mut self, path: &Path) -> Result<(), Failure>;

    /// Nobody has interrupted the installation.
    fn go_on(&mut self) -> Result<(), Failure>;

    /// It is to stay: the former files go.
    fn keep(&mut self);

    /// Everything as it was, the last first. What could not be put back.
    fn take_back(&mut self) -> Vec<Failure>;
}

/// One change.
#[derive(Debug)]
enum Change {
    /// A directory where nothing was.
    Made(PathBuf),
    /// A directory with another owner or mode.
    Had {
        path: PathBuf,
        owner: (u32, u32),
        mode: u32,
    },
    /// A file or link where nothing was.
    New(PathBuf),
    /// A file or link; the former one is `kept`.
    Replaced { path: PathBuf, kept: PathBuf },
    /// A directory of the owner's that the owner made.
    Home(Owner, PathBuf),
}

/// The host below a directory: `/`, or a test's.
#[derive(Debug)]
pub(super) struct Changes {
    root: PathBuf,
    done: Vec<Change>,
    interrupts: Option<Interrupts>,
}

impl Changes {
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            done: Vec::new(),
            interrupts: None,
        }
    }

    /// They are held back until all is done or taken back.
    pub(super) fn heeding(self, interrupts: Interrupts) -> Self {
        let interrupts = Some(interrupts);
        Self { interrupts, ..self }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Puts something in the place of what is there, and remembers that.
    fn replace(
        &mut self,
        path: PathBuf,
        put: impl FnOnce(&Path) -> Result<Placed, Failure>,
    ) -> Result<Placed, Failure> {
        let kept = second_name(&path);
        place::remove(&kept)?;
        // Neither follows a link: a link's own inode is what is kept.
        let there = fs::symlink_metadata(&path).is_ok_and(|it| !it.is_dir());
        if there {
            fs::hard_link(&path, &kept).map_err(|error| place::failed(&path, &error))?;
        }
        let placed = put(&path);
        match (&placed, there) {
            (Ok(Placed::Changed), true) => self.done.push(Change::Replaced { path, kept }),
            (Ok(Placed::Changed), false) => self.done.push(Change::New(path)),
            // Whether the name still leads to it isn't known.
            (Err(_), true) => self.done.push(Change::Replaced { path, kept }),
            (Ok(Placed::Unchanged), true) => place::remove(&kept)?,
            (_, false) => {}
        }
        placed
    }

    /// The directories that the changes are in reach the disk.
    fn sync(&self) {
        for change in &self.done {
            if let Change::New(path) | Change::Replaced { path, .. } = change {
                // What can't be synced is written out later all the same.
                let _ = path.parent().map(|it| File::open(it)?.sync_all());
            }
        }
    }
}

impl Site for Changes {
    fn directory(
        &mut self,
        path: &Path,
        owner: Option<(u32, u32)>,
        mode: u32,
    ) -> Result<(), Failure> {
        let path = self.at(path);
        let missing = path.ancestors().take_while(|it| !it.exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        if let Ok(metadata) = fs::symlink_metadata(&path) {
            self.done.push(Change::Had {
                path: path.clone(),
                owner: (metadata.uid(), metadata.gid()),
                mode: metadata.mode() & 0o7777,
            });
        }
        self.done
            .extend(missing.into_iter().rev().map(Change::Made));
        place::directory(&path, owner, mode)
    }

    fn file(&mut self, path: &Path, content: &[u8], mode: u32) -> Result<Placed, Failure> {
        self.replace(self.at(path), |path| place::file(path, content, mode))
    }

    fn link(&mut self, path: &Path, target: &Path) -> Result<Placed, Failure> {
        self.replace(self.at(path), |path| place::link(path, target))
    }

    fn home(&mut self, owner: &Owner, directory: &Path, private: bool) -> Result<(), Failure> {
        let text = directory.display().to_string();
        // Fails where it is there; whether it can be used is seen below.
        if program::run_as(owner, "mkdir", &["--", &text]).is_ok() {
            let change = Change::Home(owner.clone(), directory.to_owned());
            self.done.push(change);
        }
        program::run_as(owner, "mkdir", &["-p", "--", &text])?;
        if private {
            program::run_as(owner, "chmod", &["700", "--", &text])?;
        }
        Ok(())
    }

    fn run(&mut self, program: &str, arguments: &[&str]) -> Result<String, Failure> {
        program::run(program, arguments)
    }

    fn exists(&self, path: &Path) -> bool {
        self.at(path).symlink_metadata().is_ok()
    }

    fn remove(&mut self, path: &Path) -> Result<(), Failure> {
        place::remove(&self.at(path))
    }

    fn go_on(&mut self) -> Result<(), Failure> {
        match self.interrupts.as_mut().and_then(Interrupts::came) {
            Some(signal) => Err(Failure::new(
                Exit::Conflict,
                format!("the installation was interrupted by {signal}"),
            )),
            None => Ok(()),
        }
    }

    fn keep(&mut self) {
        self.sync();
        for change in self.done.drain(..) {
            if let Change::Replaced { kept, .. } = change {
                // One that stays is removed by the next installation.
                let _ = place::remove(&kept);
            }
        }
    }

    fn take_back(&mut self) -> Vec<Failure> {
        let mut failures = Vec::new();
        for change in self.done.iter().rev() {
            let (path, undone) = match change {
                Change::Made(path) => (path, unless_used(fs::remove_dir(path))),
                Change::Had { path, owner, mode } => (
                    path,
                    chown(path, Some(owner.0), Some(owner.1))
                        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(*mode))),
                ),
                Change::New(path) => (path, unless_gone(fs::remove_file(path))),
                Change::Replaced { path, kept } => {
                    let renamed = fs::rename(kept, path);
                    // Renaming one name of a file to the other does nothing (rename(2)).
                    (
                        path,
                        renamed.and_then(|()| unless_gone(fs::remove_file(kept))),
                    )
                }
                Change::Home(owner, path) => {
                    let text = path.display().to_string();
                    // The owner may keep something there by now.
                    let _ = program::run_as(owner, "rmdir", &["--", &text]);
                    continue;
                }
            };
            failures.extend(undone.err().map(|error| place::failed(path, &error)));
        }
        self.sync();
        self.done.clear();
        failures
    }
}

/// The name that keeps a former file. None of those who read these directories
/// takes it for one of theirs: systemd, udev and modules-load go by suffixes.
fn second_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.banger-old"))
}

fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

/// What somebody has put something into by now stays.
fn unless_used(result: io::Result<()>) -> io::Result<()> {
    unless_gone(result).or_else(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty => Ok(()),
        _ => Err(error),
    })
}
