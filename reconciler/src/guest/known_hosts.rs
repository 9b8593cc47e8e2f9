//! A guest's SSH host keys, pinned in a `known_hosts` file of its own, in the
//! owner's home beside the key that `banger vm ssh` uses.
//!
//! Assumes that `ssh` is called with `HostKeyAlias=banger-<uid>` and this file
//! alone. The keys come from the guest, so that a line is written only if it
//! can't mean anything but a key.

use std::io;
use std::path::Path;

use banger_protocol::VmUid;

use crate::act::files;

/// Where the files stand, each under its VM's uid, below the home directory.
pub const DIRECTORY: &str = ".local/state/banger/known_hosts";
/// Keys that are taken at most.
const MAX_KEYS: usize = 16;
/// A key's length at most; an RSA key of 16,384 bits has 2,800.
const MAX_KEY: usize = 4_096;

/// The host name that the keys are written under.
pub fn alias(uid: VmUid) -> String {
    format!("banger-{uid}")
}

/// The file's text; lines that aren't keys are left out.
pub fn text(uid: VmUid, host_keys: &[String]) -> String {
    host_keys
        .iter()
        .filter_map(|line| key(line))
        .take(MAX_KEYS)
        .map(|key| format!("{} {key}\n", alias(uid)))
        .collect()
}

/// Writes the file anew, in one step; its directory is made if it isn't there.
pub fn write(path: &Path, uid: VmUid, host_keys: &[String]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        files::private_directory(directory)?;
    }
    files::replace(path, text(uid, host_keys).as_bytes())
}

/// `type base64` of an `authorized_keys` line, the comment dropped.
fn key(line: &str) -> Option<String> {
    if line.len() > MAX_KEY {
        return None;
    }
    let mut words = line.split_ascii_whitespace();
    let (kind, blob) = (words.next()?, words.next()?);
    let kind_ok = ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
        && kind
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-@.".contains(&b));
    let blob_ok = blob
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    (kind_ok && blob_ok).then(|| format!("{kind} {blob}"))
}
