//! The directory that holds what is built once: disks, kernels, binaries, and
//! the running instances.
//!
//! Every entry is named by noun and content key (`host-0123456789abcdef`). It
//! is made under a temporary name and renamed when whole, so an entry that
//! exists is complete. One lock serialises builders of several processes.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use crate::{digest::Digest, privilege::as_root, run::run};

/// How the names of entries in the making begin.
const UNFINISHED: &str = "unfinished-";

/// The cache's root directory.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$BANGER_E2E_CACHE`, or `e2e` in cargo's target directory. Made where it
    /// isn't there.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn open() -> Result<Self> {
        let root = match (
            env::var_os("BANGER_E2E_CACHE"),
            env::var_os("CARGO_TARGET_DIR"),
        ) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(target)) => PathBuf::from(target).join("e2e"),
            (None, None) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/e2e"),
        };
        Self::at(&root)
    }

    /// A cache at this very directory.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn at(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| {
            format!(
                "cannot make the cache directory {}; set BANGER_E2E_CACHE to another",
                root.display()
            )
        })?;
        let root = root
            .canonicalize()
            .with_context(|| format!("cannot resolve {}", root.display()))?;
        Ok(Self { root })
    }

    /// Where the entry of this noun and content lies, made or not.
    #[must_use]
    pub fn entry(&self, noun: &str, key: &Digest) -> PathBuf {
        self.root.join(format!("{noun}-{}", key.short()))
    }

    /// The directory of all instances.
    #[must_use]
    pub fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// A file directly in the cache.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Waits until no other process builds; held until dropped.
    ///
    /// # Errors
    /// The lock file can't be made.
    pub fn lock(&self) -> Result<Lock> {
        Lock::take(&self.root.join("build.lock"))
    }

    /// Removes what builders that were killed left behind: whoever holds the
    /// lock is the only builder. Trees of root's may be among it.
    ///
    /// # Errors
    /// It can't be removed.
    pub(crate) fn remove_unfinished(&self, _lock: &Lock) -> Result<()> {
        let entries = fs::read_dir(&self.root)
            .with_context(|| format!("cannot list {}", self.root.display()))?;
        for entry in entries.flatten() {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(UNFINISHED.as_bytes())
            {
                run(as_root("rm")
                    .args(["-rf", "--one-file-system", "--"])
                    .arg(entry.path()))?;
            }
        }
        Ok(())
    }

    /// Makes an entry unless it is there. `make` fills the directory it gets;
    /// an error leaves nothing behind. The caller holds the lock.
    ///
    /// # Errors
    /// Those of `make`, and of the file system.
    pub fn make_entry(
        &self,
        noun: &str,
        key: &Digest,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let entry = self.entry(noun, key);
        if let Ok(directory) = File::open(&entry) {
            // Used today; see `remove_unused`.
            directory
                .set_modified(std::time::SystemTime::now())
                .with_context(|| format!("cannot touch {}", entry.display()))?;
            return Ok(entry);
        }
        let unfinished = tempfile::Builder::new()
            .prefix(&format!("{UNFINISHED}{noun}-"))
            .tempdir_in(&self.root)
            .context("cannot make a build directory")?;
        make(unfinished.path())?;
        fs::rename(unfinished.path(), &entry)
            .with_context(|| format!("cannot put {} in place", entry.display()))?;
        // The directory has moved away; there is nothing to remove.
        let _moved = unfinished.keep();
        // Another branch may still use a fresh one.
        self.remove_unused(noun, &entry, Duration::from_secs(24 * 3600));
        Ok(entry)
    }

    /// Removes all other entries of the same noun.
    pub(crate) fn remove_others(&self, noun: &str, keep: &Path) {
        self.remove_unused(noun, keep, Duration::ZERO);
    }

    /// Removes entries of the same noun that weren't used for so long. Failing
    /// to is no failure.
    fn remove_unused(&self, noun: &str, keep: &Path, unused: Duration) {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let of_noun = name
                .to_str()
                .and_then(|n| n.strip_prefix(noun)?.strip_prefix('-'))
                .is_some_and(|key| key.len() == 16 && key.bytes().all(|b| b.is_ascii_hexdigit()));
            let old = entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= unused));
            if of_noun && old && entry.path() != keep {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// An exclusive `flock(2)` on a file; given back on drop, and by the kernel
/// when the process ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "holding it open is the lock")] File);

impl Lock {
    /// Waits for the lock.
    ///
    /// # Errors
    /// The file can't be made or locked.
    pub fn take(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot open {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use anyhow::bail;

    use super::*;

    #[test]
    fn an_entry_is_made_once_and_only_whole() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let key = Digest::of_parts([("a", b"1".as_slice())]);
        let failed = cache.make_entry("thing", &key, |entry| {
            fs::write(entry.join("half"), "x")?;
            bail!("no")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

        let entry = cache
            .make_entry("thing", &key, |entry| Ok(fs::write(entry.join("a"), "x")?))
            .unwrap();
        assert_eq!(fs::read_to_string(entry.join("a")).unwrap(), "x");
        let again = cache.make_entry("thing", &key, |_| bail!("made twice"));
        assert_eq!(again.unwrap(), entry);

        let other = Digest::of_parts([("a", b"2".as_slice())]);
        let other = cache.make_entry("thing", &other, |_| Ok(())).unwrap();
        assert_ne!(other, entry);
        assert!(entry.exists(), "another branch may still use it");
    }

    #[test]
    fn what_a_killed_builder_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        fs::create_dir_all(directory.path().join("unfinished-host-x/root")).unwrap();
        let lock = cache.lock().unwrap();
        cache.remove_unfinished(&lock).unwrap();
        assert!(!directory.path().join("unfinished-host-x").exists());
        assert!(directory.path().join("build.lock").exists());
    }
}
