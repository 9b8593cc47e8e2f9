//! Content keys: SHA-256 over named parts.
//!
//! Parts are framed by their lengths, so no two lists of parts share a key by
//! running together.

use std::{fmt, fs::File, io, path::Path};

use sha2::{Digest as _, Sha256};

/// A SHA-256 in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// The key of a list of (name, content) parts; their order counts.
    #[must_use]
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut hash = Sha256::new();
        for (name, content) in parts {
            for field in [name.as_bytes(), content] {
                hash.update((field.len() as u64).to_le_bytes());
                hash.update(field);
            }
        }
        Self::from_bytes(&hash.finalize())
    }

    /// The plain SHA-256 of a file, as `sha256sum` prints it.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok(Self::from_bytes(&hash.finalize())),
                n => hash.update(&buffer[..n]),
            }
        }
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// All 64 digits.
    #[must_use]
    pub fn full(&self) -> &str {
        &self.0
    }

    /// The first 16 digits: enough for a directory's name.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..16]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Digest;

    #[test]
    fn parts_do_not_run_together() {
        let one = Digest::of_parts([("a", b"bc".as_slice())]);
        let other = Digest::of_parts([("ab", b"c".as_slice())]);
        assert_ne!(one, other);
    }

    #[test]
    fn a_file_has_the_digest_that_sha256sum_prints() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(
            Digest::of_file(file.path()).unwrap().full(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
