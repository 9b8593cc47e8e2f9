//! The bytes of one file, or why there are none.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use banger_core::parse::limits::MAX_FILE_BYTES;
use banger_core::problem::Problem;

use super::stamp::Stamp;

/// Why a file gave no bytes.
#[derive(Debug)]
pub(super) enum Unread {
    /// It went away or changed meanwhile: look again.
    Moving,
    /// It can't be used as it is.
    Problem(Box<Problem>),
}

/// The stamp of what a path leads to, if that is a regular file of a sane size.
pub(super) fn stamp(path: &Path) -> Result<Stamp, Unread> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Err(failed(path, &error)),
    };
    check(path, &metadata)?;
    Ok(Stamp::of(&metadata))
}

/// A regular file's bytes, as [`capped`] gives them, whatever the file is like.
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    match file.metadata()?.is_file() {
        true => capped(file),
        false => Err(io::Error::other("it isn't a regular file")),
    }
}

/// At most as many bytes as are read of a file of specs, and one more, by which
/// one that is longer is known.
pub(crate) fn capped(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `O_NONBLOCK`: a FIFO would block.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
}

/// Reads a file that [`stamp`] was content with; another thing may have taken its
/// place since then.
pub(super) fn read(path: &Path, expected: Stamp) -> Result<Vec<u8>, Unread> {
    let failed = |error: io::Error| failed(path, &error);
    let file = open(path).map_err(failed)?;
    let before = file.metadata().map_err(failed)?;
    check(path, &before)?;
    let bytes = capped(&file).map_err(failed)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(too_long(path));
    }
    let after = File::metadata(&file).map_err(failed)?;
    if Stamp::of(&after) != expected || Stamp::of(&before) != expected {
        return Err(Unread::Moving);
    }
    Ok(bytes)
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), Unread> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return if metadata.len() > MAX_FILE_BYTES as u64 {
            Err(too_long(path))
        } else {
            Ok(())
        };
    }
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(problem(
        path,
        format!("this is {what}, not a file"),
        "rename or remove it; specs are files ending in .yaml or .yml, directly in this directory",
    ))
}

fn too_long(path: &Path) -> Unread {
    problem(
        path,
        "the file is longer than 1 MiB".into(),
        "split it into several files, or remove it if it is no spec",
    )
}

fn failed(path: &Path, error: &io::Error) -> Unread {
    let link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    let target = || match fs::read_link(path) {
        Ok(target) => format!("`{}`", target.display()),
        Err(_) => "something".into(),
    };
    match error.kind() {
        io::ErrorKind::NotFound if link => problem(
            path,
            format!("this is a symbolic link to {}, which isn't there", target()),
            "put the target back, or remove the link",
        ),
        io::ErrorKind::NotFound => Unread::Moving,
        io::ErrorKind::PermissionDenied => problem(
            path,
            "the file can't be read: permission denied".into(),
            "give its owner the right to read it: chmod u+r",
        ),
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => problem(
            path,
            "this symbolic link leads back to itself".into(),
            "remove the link, or point it at a file",
        ),
        _ => problem(
            path,
            format!("the file can't be read: {error}"),
            "see whether the file system is well; what it declared stays as it was",
        ),
    }
}

fn problem(path: &Path, message: String, remedy: &str) -> Unread {
    Unread::Problem(Box::new(Problem {
        file: path.to_owned(),
        at: None,
        object: None,
        field: None,
        message,
        remedy: Some(remedy.into()),
        line: None,
    }))
}
