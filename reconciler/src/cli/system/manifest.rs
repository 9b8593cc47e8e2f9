//! `/usr/lib/banger/manifest.toml`: what `system install` put in place, program
//! by program, so that `doctor` and the helper can tell whether it is still that.

use std::fmt::Write as _;
use std::path::Path;

use banger_protocol::manifest::Manifest;
use sha2::{Digest as _, Sha256};

use super::program::try_run;

/// Where it stands, beside the programs.
pub(in crate::cli) const PATH: &str = "/usr/lib/banger/manifest.toml";

/// The manifest in this file, where there is one that can be read.
pub(in crate::cli) fn read(path: &Path) -> Option<Manifest> {
    toml::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// In hexadecimal.
pub(in crate::cli) fn sha256(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What `--version` says, for Firecracker and its jailer: `Firecracker v1.12.1`.
pub(in crate::cli) fn version_of(program: &Path) -> Option<String> {
    parse_version(&try_run(program.to_str()?, &["--version"])?)
}

/// The version in what a program says of it.
pub(super) fn parse_version(text: &str) -> Option<String> {
    let word = text.lines().next()?.split_whitespace().last()?;
    let version = word.strip_prefix('v').unwrap_or(word);
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{parse_version, sha256};

    #[test]
    fn versions_and_digests_are_read() {
        let version = |text| parse_version(text);
        assert_eq!(
            version("Firecracker v1.12.1\n\nmore"),
            Some("1.12.1".into())
        );
        assert_eq!(version("Jailer v1.12.1"), Some("1.12.1".into()));
        assert_eq!(version("usage: jailer"), None);
        assert_eq!(
            sha256(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
