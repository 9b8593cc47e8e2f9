//! A guest's root directory, from which no path leads out.
//!
//! Guarantees: every name is resolved by `openat2` with `RESOLVE_IN_ROOT`: the
//! image's links, absolute ones too, stay beneath this root. A file is written
//! beside its place and renamed, so that a reader sees the old or the new one,
//! and a link in its place is replaced, not followed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, openat2, renameat,
    unlinkat,
};
use rustix::io::Errno;

/// The longest file that is read.
const CAP: u64 = 1 << 20;
/// The name under which a file is written.
const BESIDE: &str = ".banger-new";

/// A root directory.
pub(crate) struct Root {
    fd: OwnedFd,
}

impl Root {
    /// The directory at `path`, which itself is trusted.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Opens what is there.
    pub(crate) fn at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            let flags = flags | OFlags::CLOEXEC;
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                // A rename elsewhere made the kernel unsure (openat2(2)).
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// A directory, made with its parents where it isn't there.
    pub(crate) fn directory(&self, path: &str, mode: u32) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut directory = self.at("/", flags)?;
        let mut walked = String::new();
        for name in components(path)? {
            walked.push('/');
            walked.push_str(name);
            directory = match self.at(&walked, flags) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    mkdirat(&directory, name, Mode::from_raw_mode(mode))?;
                    self.at(&walked, flags)?
                }
                other => other?,
            };
        }
        Ok(directory)
    }

    /// Whether a regular file that may be executed is there.
    pub(crate) fn has_program(&self, path: &str) -> bool {
        self.at(path, OFlags::PATH)
            .and_then(|file| Ok(fstat(&file)?))
            .is_ok_and(|stat| {
                FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_mode & 0o111 != 0
            })
    }

    /// A file's content, `None` where it isn't there.
    pub(crate) fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        // A FIFO doesn't block and a terminal isn't taken.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.at(path, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => File::from(other?),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(CAP + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > CAP {
            return Err(io::Error::other(format!("it is longer than {CAP} bytes")));
        }
        Ok(Some(bytes))
    }

    /// A text file's content, empty where it isn't there. Bytes that aren't
    /// UTF-8 can't be kept, so they are an error.
    pub(crate) fn read_text(&self, path: &str) -> io::Result<String> {
        let bytes = self.read(path)?.unwrap_or_default();
        String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
    }

    /// Writes a file of root's; its directory is made where it isn't there.
    /// A file that has this content already is left alone.
    pub(crate) fn write(&self, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let mut names = components(path)?;
        let name = names
            .pop()
            .ok_or_else(|| io::Error::other("the path names no file"))?;
        let parent = self.directory(&names.join("/"), 0o755)?;
        if self.is_plainly(&parent, name, content, mode)? {
            return Ok(());
        }
        match unlinkat(&parent, BESIDE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let written = create(&parent, BESIDE, content, mode)
            .and_then(|()| Ok(renameat(&parent, BESIDE, &parent, name)?));
        if written.is_err() {
            let _ = unlinkat(&parent, BESIDE, AtFlags::empty());
        }
        written
    }

    /// Removes a file or a link, where there is one.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        let mut names = components(path)?;
        let name = names
            .pop()
            .ok_or_else(|| io::Error::other("the path names no file"))?;
        let parent = match self.at(&format!("/{}", names.join("/")), OFlags::PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        match unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a regular file, no link, already is what would be written.
    fn is_plainly(
        &self,
        parent: impl AsFd,
        name: &str,
        content: &[u8],
        mode: u32,
    ) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            // What can't be opened is replaced.
            Err(_) => return Ok(false),
        };
        let stat = fstat(&file)?;
        let plain = FileType::from_raw_mode(stat.st_mode).is_file()
            && stat.st_mode & 0o7777 == mode
            && u64::try_from(stat.st_size).is_ok_and(|size| size == content.len() as u64);
        if !plain {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        file.take(content.len() as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes == content)
    }
}

fn create(parent: impl AsFd, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(
        parent,
        name,
        flags,
        Mode::from_raw_mode(0o600),
    )?);
    file.write_all(content)?;
    // Not left to the umask.
    Ok(fchmod(&file, Mode::from_raw_mode(mode))?)
}

/// The names of a path; `..` would be a riddle for whoever reads it.
fn components(path: &str) -> io::Result<Vec<&str>> {
    let names: Vec<&str> = path
        .split('/')
        .filter(|name| !matches!(*name, "" | "."))
        .collect();
    if names
        .iter()
        .any(|name| *name == ".." || name.contains('\0'))
    {
        return Err(io::Error::other(format!("`{path}` is no plain path")));
    }
    Ok(names)
}
