//! The owner's files, opened once and checked on the descriptor.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ImportError;

/// A file of the owner's and what it must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Absolute.
    pub path: PathBuf,
    /// 64 hexadecimal digits, where the spec says them.
    pub sha256: Option<String>,
}

impl SourceFile {
    /// A file whatever its content.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sha256: None,
        }
    }

    /// Opens it. `O_NONBLOCK` keeps a FIFO from blocking; a link is followed.
    pub(super) fn open(&self, what: &'static str) -> Result<(File, u64), ImportError> {
        if let Some(expected) = &self.sha256
            && !(expected.len() == 64 && expected.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(ImportError::BadSha256 {
                what,
                path: self.path.clone(),
            });
        }
        open_regular(what, &self.path)
    }

    /// Its whole content, at most `cap` bytes, checked against [`Self::sha256`].
    pub(super) fn read(&self, what: &'static str, cap: u64) -> Result<Vec<u8>, ImportError> {
        let (file, size) = self.open(what)?;
        let too_large = |size| ImportError::TooLarge {
            what,
            path: self.path.clone(),
            size,
            cap,
        };
        if size > cap {
            return Err(too_large(size));
        }
        let mut bytes = Vec::new();
        file.take(cap + 1)
            .read_to_end(&mut bytes)
            .map_err(ImportError::io("read", &self.path))?;
        if bytes.len() as u64 > cap {
            return Err(too_large(bytes.len() as u64));
        }
        self.check(what, &sha256(&bytes))?;
        Ok(bytes)
    }

    /// Compares with what the spec says.
    pub(super) fn check(&self, what: &'static str, actual: &str) -> Result<(), ImportError> {
        match &self.sha256 {
            Some(expected) if !expected.eq_ignore_ascii_case(actual) => {
                Err(ImportError::WrongSha256 {
                    what,
                    path: self.path.clone(),
                    expected: expected.to_ascii_lowercase(),
                    actual: actual.to_owned(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// Opens a regular file and tells its size.
pub(super) fn open_regular(what: &'static str, path: &Path) -> Result<(File, u64), ImportError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC)
        .open(path)
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ImportError::NotThere {
                what,
                path: path.to_owned(),
            },
            io::ErrorKind::PermissionDenied => ImportError::NotReadable {
                what,
                path: path.to_owned(),
            },
            // A socket can't be opened (open(2): ENXIO).
            _ if source.raw_os_error() == Some(nix::libc::ENXIO) => ImportError::NotAFile {
                what,
                path: path.to_owned(),
                is: "a socket",
            },
            _ => ImportError::io("open", path)(source),
        })?;
    let metadata = file.metadata().map_err(ImportError::io("read", path))?;
    let kind = metadata.file_type();
    let is = if kind.is_file() {
        return Ok((file, metadata.len()));
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else {
        "a device"
    };
    Err(ImportError::NotAFile {
        what,
        path: path.to_owned(),
        is,
    })
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}
