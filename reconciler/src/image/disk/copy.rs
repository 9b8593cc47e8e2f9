//! Copies a disk: by reference where the file system can, else extent by
//! extent; holes and zeros stay holes. Hashes what the copy holds.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::SeekFrom;
use sha2::{Digest, Sha256};

use crate::image::ImportError;
use crate::image::source::hex;
use crate::sparse::seek;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// Bytes that become a hole if all are zero.
const GRAIN: usize = 64 << 10;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::image) struct Copied {
    /// Bytes.
    pub(in crate::image) size: u64,
    /// Of the content, holes read as zeros.
    pub(in crate::image) sha256: String,
}

/// Copies all of `source` into the empty `target`.
///
/// A source that changes meanwhile is an error: half of one file system and
/// half of another is neither. So is one that would leave less than
/// `keep_free` bytes of the target's file system, before anything is written:
/// it would only be found out once everybody else is out of room, too.
pub(in crate::image) fn copy(
    (source, from): (&File, &Path),
    (target, to): (&File, &Path),
    keep_free: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied, ImportError> {
    let reading = |error| ImportError::io("read", from)(error);
    let before = source.metadata().map_err(reading)?;
    let size = before.len();
    let shared = rustix::fs::ioctl_ficlone(target, source).is_ok();
    let sha256 = if shared {
        // The clone is a point in time; what happens to the source is nothing to it.
        let size = target
            .metadata()
            .map_err(ImportError::io("read", to))?
            .len();
        walk(target, size, progress, |_, _| Ok(())).map_err(|fault| fault.at(to, to))?
    } else {
        fits(&before, (target, to), keep_free)?;
        target.set_len(size).map_err(ImportError::io("write", to))?;
        walk(source, size, progress, |offset, bytes| {
            write_grains(target, offset, bytes)
        })
        .map_err(|fault| fault.at(from, to))?
    };
    let after = source.metadata().map_err(reading)?;
    let stamp = |metadata: &std::fs::Metadata| {
        (
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        )
    };
    if !shared && stamp(&before) != stamp(&after) {
        return Err(ImportError::Changed {
            what: "disk",
            path: from.to_owned(),
        });
    }
    Ok(Copied { size, sha256 })
}

fn fits(
    source: &std::fs::Metadata,
    (target, to): (&File, &Path),
    keep_free: u64,
) -> Result<(), ImportError> {
    let found =
        rustix::fs::fstatvfs(target).map_err(|error| ImportError::io("write", to)(error.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    // Blocks of 512 bytes (stat(2)): holes take no room here either.
    let needed = source.blocks().saturating_mul(512);
    if needed.saturating_add(keep_free) <= free {
        return Ok(());
    }
    Err(ImportError::NoRoom {
        path: to.to_owned(),
        needed: needed >> 20,
        keep_free: keep_free >> 20,
        free: free >> 20,
    })
}

enum Fault {
    Short,
    Read(io::Error),
    Write(io::Error),
}

impl Fault {
    fn at(self, from: &Path, to: &Path) -> ImportError {
        match self {
            Self::Short => ImportError::Changed {
                what: "disk",
                path: from.to_owned(),
            },
            Self::Read(source) => ImportError::io("read", from)(source),
            Self::Write(source) => ImportError::io("write", to)(source),
        }
    }
}

/// Reads every extent of data, hands it on, and hashes data and holes.
fn walk(
    file: &File,
    size: u64,
    progress: &mut dyn FnMut(u64, u64),
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<String, Fault> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let zeros = [0; GRAIN];
    let mut position = 0;
    progress(0, size);
    while position < size {
        let data = seek(file, SeekFrom::Data(position), size).map_err(Fault::Read)?;
        while position < data {
            let length = (data - position).min(GRAIN as u64);
            hash.update(&zeros[..usize::try_from(length).unwrap_or(GRAIN)]);
            position += length;
            if position.is_multiple_of(CHUNK as u64) {
                progress(position, size);
            }
        }
        let hole = seek(file, SeekFrom::Hole(position), size).map_err(Fault::Read)?;
        while position < hole {
            let length = usize::try_from(hole - position).map_or(CHUNK, |left| left.min(CHUNK));
            let read = match file.read_at(&mut buffer[..length], position) {
                Ok(0) => return Err(Fault::Short),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Read(error)),
            };
            hash.update(&buffer[..read]);
            take(position, &buffer[..read]).map_err(Fault::Write)?;
            position += read as u64;
            progress(position, size);
        }
    }
    progress(size, size);
    Ok(hex(&hash.finalize()))
}

/// Writes what isn't zero.
fn write_grains(target: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut at = offset;
    for grain in bytes.chunks(GRAIN) {
        if grain.iter().any(|byte| *byte != 0) {
            target.write_all_at(grain, at)?;
        }
        at += grain.len() as u64;
    }
    Ok(())
}
