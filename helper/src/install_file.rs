//! Reading `/etc/banger/install.toml` and what else an installation wrote, and
//! the proof that only root could have written it and what it names.

use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use banger_protocol::{Install, Slot};
use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;

/// The longest metadata that is read, in bytes.
const MAX_LENGTH: u64 = 64 * 1024;
/// uids below are the distribution's and people's (Debian policy 9.2.2).
const LOWEST_UID_BASE: u32 = 1000;

/// Why the metadata is not used.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It can't be opened or read.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// Somebody other than root could have written it.
    #[error(transparent)]
    Trust(#[from] Untrusted),
    /// It isn't what `banger system install` writes.
    #[error("{} is not what this version writes; run `banger system install` again", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line and cause.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value is out of its range.
    #[error("{field}: {why}; run `banger system install` again")]
    Value {
        /// The field, as the file spells it.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// A path that somebody other than root can change.
#[derive(Debug, thiserror::Error)]
#[error("{} is not trusted: {why}", path.display())]
pub struct Untrusted {
    /// The first component that isn't root's.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// Reads and checks the metadata.
pub fn load(path: &Path) -> Result<Install, InstallError> {
    let install = read(path)?;
    check(&install)?;
    Ok(install)
}

/// Reads a TOML file that root alone could have written.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, InstallError> {
    let read = |source: std::io::Error| InstallError::Read {
        path: path.to_owned(),
        source,
    };
    trusted_directory(path.parent().unwrap_or(Path::new("/")))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| read(e.into()))?;
    let file = File::from(file);
    let stat = file.metadata().map_err(read)?;
    if !stat.is_file() {
        return Err(untrusted(path, "not a regular file").into());
    }
    roots_alone(path, &stat)?;
    let mut text = String::new();
    file.take(MAX_LENGTH)
        .read_to_string(&mut text)
        .map_err(read)?;
    toml::from_str(&text).map_err(|source| InstallError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// The ranges that every operation relies on.
pub fn check(install: &Install) -> Result<(), InstallError> {
    let wrong = |field, why: String| Err(InstallError::Value { field, why });
    if install.owner_uid == 0 {
        return wrong("ownerUid", "the owner can't be root".into());
    }
    let bridge = &install.bridge;
    let named = bridge
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if bridge.is_empty() || bridge.len() > 15 || !named || bridge.starts_with("bgr") {
        return wrong(
            "bridge",
            format!(
                "`{bridge}` is not 1 to 15 of a-z, 0-9 and `-`, or starts with `bgr` as the taps do"
            ),
        );
    }
    match Slot::try_from(install.slots) {
        Err(_) => return wrong("slots", "at least one".into()),
        Ok(last) if install.subnet.prefix_len() > 30 || last.address(install.subnet).is_none() => {
            return wrong(
                "slots",
                format!("{} slots don't fit {}", install.slots, install.subnet),
            );
        }
        Ok(_) => {}
    }
    let network = install.subnet.network();
    if network.is_loopback() || network.is_multicast() || network == Ipv4Addr::UNSPECIFIED {
        return wrong("subnet", format!("{} can't hold guests", install.subnet));
    }
    let (base, slots) = (install.uid_base, u32::from(install.slots));
    match base.checked_add(slots) {
        Some(last) if base >= LOWEST_UID_BASE && last < u32::MAX => {
            if (base..=last).contains(&install.owner_uid)
                || (base..=last).contains(&install.owner_gid)
            {
                return wrong("uidBase", "the owner's id lies in the VMMs' range".into());
            }
        }
        _ => {
            return wrong(
                "uidBase",
                format!("the range must lie between {LOWEST_UID_BASE} and 2^32-2"),
            );
        }
    }
    for (field, path) in [
        ("stateDir", &install.state_dir),
        ("jailDir", &install.jail_dir),
        ("firecracker", &install.firecracker),
        ("jailer", &install.jailer),
    ] {
        let plain = path
            .components()
            .all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        if !path.is_absolute() || !plain || path.to_str().is_none_or(|p| p.contains([':', '\n'])) {
            return wrong(
                field,
                format!("`{}` is not a plain absolute path", path.display()),
            );
        }
    }
    Ok(())
}

/// A program that root may run: neither it nor a directory above it can be
/// changed by anybody else, and no symbolic link stands in between.
pub fn trusted_program(path: &Path) -> Result<(), Untrusted> {
    trusted_directory(path.parent().unwrap_or(Path::new("/")))?;
    let stat = path
        .symlink_metadata()
        .map_err(|e| untrusted(path, &e.to_string()))?;
    if !stat.is_file() {
        return Err(untrusted(path, "not a regular file"));
    }
    if stat.mode() & 0o111 == 0 {
        return Err(untrusted(path, "not executable"));
    }
    roots_alone(path, &stat)
}

/// A directory whose whole chain is root's alone.
pub fn trusted_directory(path: &Path) -> Result<(), Untrusted> {
    if !path.is_absolute() {
        return Err(untrusted(path, "not an absolute path"));
    }
    for part in path.ancestors() {
        let stat = part
            .symlink_metadata()
            .map_err(|e| untrusted(part, &e.to_string()))?;
        if !stat.is_dir() {
            return Err(untrusted(part, "not a directory"));
        }
        roots_alone(part, &stat)?;
    }
    Ok(())
}

fn roots_alone(path: &Path, stat: &std::fs::Metadata) -> Result<(), Untrusted> {
    if stat.uid() != 0 {
        return Err(untrusted(
            path,
            &format!("belongs to uid {}, not to root", stat.uid()),
        ));
    }
    if stat.mode() & 0o022 != 0 {
        return Err(untrusted(
            path,
            &format!("others may write it (mode {:04o})", stat.mode() & 0o7777),
        ));
    }
    Ok(())
}

fn untrusted(path: &Path, why: &str) -> Untrusted {
    Untrusted {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
