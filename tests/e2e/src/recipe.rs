//! What the two root file systems are made from: the files under `recipe/`,
//! compiled in.
//!
//! A recipe's key covers every byte of it, so changing a script or a package
//! list makes a new cache entry.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};

use crate::digest::Digest;

/// Rises when this crate's code makes something else of the same recipe.
const CODE_VERSION: &str = "1";

/// The Debian release of host and guest.
pub(crate) const SUITE: &str = "bookworm";

/// One root file system's recipe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    /// `host` or `guest`: also the first part of the cache entry's name.
    pub noun: &'static str,
    packages: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! files {
    ($directory:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../recipe/", $directory, "/", $name)))),+]
    };
}

/// The disposable host.
pub(crate) const HOST: Recipe = Recipe {
    noun: "host",
    packages: include_str!("../recipe/host/packages"),
    files: files!("host":
        "essential.sh",
        "setup.sh",
        "init",
        "files/etc/modules-load.d/banger-e2e.conf",
        "files/etc/ssh/sshd_config.d/banger-e2e.conf",
        "files/etc/systemd/system/banger-e2e-internet.service",
        "files/etc/systemd/system/banger-e2e-network.service",
        "files/etc/systemd/system/banger-e2e-ready.service",
        "files/srv/internet/cgi-bin/source",
        "files/srv/internet/index.html",
        "files/usr/local/lib/banger-e2e/authorized-keys",
        "files/usr/local/lib/banger-e2e/network",
    ),
};

/// The Debian guest that boots inside it.
pub(crate) const GUEST: Recipe = Recipe {
    noun: "guest",
    packages: include_str!("../recipe/guest/packages"),
    files: files!("guest": "setup.sh", "quick.sh"),
};

impl Recipe {
    /// The package names: one a line, `#` starts a comment.
    #[must_use]
    pub(crate) fn packages(&self) -> Vec<&'static str> {
        self.packages
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// One of the recipe's files.
    #[must_use]
    pub(crate) fn file(&self, name: &str) -> Option<&'static str> {
        self.files
            .iter()
            .find_map(|(path, text)| (*path == name).then_some(*text))
    }

    /// The content key.
    #[must_use]
    pub(crate) fn key(&self) -> Digest {
        let head = [
            ("version", CODE_VERSION.as_bytes()),
            ("suite", SUITE.as_bytes()),
            ("noun", self.noun.as_bytes()),
            ("packages", self.packages.as_bytes()),
        ];
        let files = self
            .files
            .iter()
            .map(|(name, text)| (*name, text.as_bytes()));
        Digest::of_parts(head.into_iter().chain(files))
    }

    /// Lays the files out beneath `directory`; scripts become executable.
    ///
    /// # Errors
    /// A file can't be written.
    pub(crate) fn write_to(&self, directory: &Path) -> Result<()> {
        for (name, text) in self.files {
            let path = directory.join(name);
            let parent = path.parent().unwrap_or(directory);
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("cannot write {}", path.display()))?;
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .with_context(|| format!("cannot set the mode of {}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::{artifacts::VARIANT, ext4::BLOCKS};

    /// What the guest has beside what the README tells people to install: what
    /// only the tests ask of it, and `systemd`, which `systemd-sysv` brings.
    const BESIDE: [&str; 4] = ["systemd", "dropbear-bin", "iputils-ping", "curl"];

    /// The README's image has the packages of the one that scenarios boot; that
    /// one's `setup.sh` takes away what costs time. The lines themselves aren't run.
    #[test]
    fn the_guest_is_made_as_the_readme_says() {
        let readme = include_str!("../../../README.md");
        let commands: Vec<Vec<&str>> = readme
            .lines()
            .skip_while(|line| !line.starts_with("mmdebstrap "))
            .take_while(|line| *line != "```")
            .map(|line| line.split('#').next().unwrap().split_whitespace().collect())
            .collect();
        let [install, keys, format] = &commands[..] else {
            panic!("other commands: {commands:?}");
        };

        let ["mmdebstrap", variant, packages, suite, root] = install[..] else {
            panic!("another command: {install:?}");
        };
        assert_eq!((variant, suite), (VARIANT, SUITE));
        let told = packages.strip_prefix("--include=").unwrap().split(',');
        let told: BTreeSet<&str> = told.collect();
        let installed: BTreeSet<&str> = GUEST.packages().into_iter().collect();
        assert_eq!(&installed - &told, BTreeSet::from(BESIDE));
        assert!(told.is_subset(&installed), "{told:?}");

        let host_keys = "/etc/ssh/ssh_host_*";
        assert_eq!(keys[..], ["rm", &format!("{root}{host_keys}")]);
        let removes = format!("rm -f \"$root\"{host_keys}\n");
        assert!(GUEST.file("setup.sh").unwrap().contains(&removes));

        let ["mkfs.ext4", "-q", option, size, "-d", tree, _, _] = format[..] else {
            panic!("another command: {format:?}");
        };
        assert_eq!(([option, size], tree), (BLOCKS, root));
    }

    /// A file that someone adds under `recipe/` but not to the list above would
    /// silently be missing from the host.
    #[test]
    fn every_file_of_the_recipe_directory_is_compiled_in() {
        fn walk(directory: &Path, root: &Path, found: &mut BTreeSet<String>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    let name = path.strip_prefix(root).unwrap();
                    found.insert(name.to_str().unwrap().to_owned());
                }
            }
        }
        for recipe in [HOST, GUEST] {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("recipe")
                .join(recipe.noun);
            let mut found = BTreeSet::new();
            walk(&root, &root, &mut found);
            let mut listed: BTreeSet<_> =
                recipe.files.iter().map(|(n, _)| (*n).to_owned()).collect();
            listed.insert("packages".to_owned());
            assert_eq!(found, listed, "{}", recipe.noun);
        }
    }

    #[test]
    fn any_change_makes_another_key() {
        let key = HOST.key();
        assert_eq!(key, HOST.key());
        let one_package_more = Recipe {
            packages: "systemd\nvim\n",
            ..HOST
        };
        let one_file_less = Recipe {
            files: &HOST.files[1..],
            ..HOST
        };
        assert_ne!(key, one_package_more.key());
        assert_ne!(key, one_file_less.key());
        assert_ne!(key, GUEST.key());
    }

    #[test]
    fn comments_are_no_packages() {
        assert!(HOST.packages().contains(&"openssh-server"));
        assert!(
            HOST.packages()
                .iter()
                .all(|name| !name.contains([' ', '#']))
        );
    }
}
