//! Whether the programs of a VM are the very bytes that were installed.
//!
//! Guarantees: the manifest and the programs are read only where root alone
//! could have written them; what differs is named. Nothing but a start asks:
//! what runs can be seen, ended and removed whatever became of its program.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use banger_protocol::Install;
use banger_protocol::manifest::{FILE, Manifest};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use crate::install_file::{self, InstallError, Untrusted, trusted_program};

/// Why no VM may be started.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// The manifest can't be used.
    #[error(transparent)]
    Manifest(#[from] InstallError),
    /// Somebody other than root could have written the program.
    #[error(transparent)]
    Trust(#[from] Untrusted),
    /// The program can't be read.
    #[error("{} can't be read: {source}", path.display())]
    Read {
        /// The program.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It is another one.
    #[error("{} is not the {name} that was installed: its sha256 differs", path.display())]
    Differs {
        /// Its name in the manifest.
        name: &'static str,
        /// Where it stands.
        path: PathBuf,
    },
}

/// What the manifest says of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are as installed.
    AsInstalled,
    /// There is no manifest: banger was installed by an older version.
    NoManifest,
}

/// Reads and hashes Firecracker, its jailer and the guest agent: a few MB. The
/// manifest stands beside Firecracker. Blocks.
pub fn verify(install: &Install) -> Result<Standing, Mismatch> {
    let path = install.firecracker.with_file_name(FILE);
    let manifest: Manifest = match install_file::read(&path) {
        Ok(manifest) => manifest,
        Err(InstallError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Standing::NoManifest);
        }
        Err(error) => return Err(error.into()),
    };
    for (name, path) in [
        ("firecracker", &install.firecracker),
        ("jailer", &install.jailer),
        ("banger-agent", &install.agent),
    ] {
        trusted_program(path)?;
        let sha256 = sha256(path).map_err(|source| Mismatch::Read {
            path: path.clone(),
            source,
        })?;
        let recorded = manifest.programs.get(name);
        if recorded.is_none_or(|recorded| recorded.sha256 != sha256) {
            let path = path.clone();
            return Err(Mismatch::Differs { name, path });
        }
    }
    Ok(Standing::AsInstalled)
}

fn sha256(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let (mut hash, mut part) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut part)? {
            0 => break,
            length => hash.update(&part[..length]),
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;
    use crate::Host;
    use crate::install_file::tests::{good, roots_directory};

    /// SHA-256 of nothing.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn installed(at: &Path) -> Install {
        let program = |name: &str| {
            let path = at.join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            path
        };
        let install = Install {
            firecracker: program("firecracker"),
            jailer: program("jailer"),
            agent: program("banger-agent"),
            ..good()
        };
        let names = ["firecracker", "jailer", "banger-agent"];
        let lines = names.map(|name| format!("[programs.{name}]\nsha256 = \"{EMPTY}\"\n"));
        fs::write(at.join(FILE), lines.concat()).unwrap();
        install
    }

    #[test]
    fn each_program_must_be_what_was_installed() {
        let Some(at) = roots_directory("each_program_must_be_what_was_installed") else {
            return;
        };
        let install = installed(at.path());
        assert_eq!(verify(&install).unwrap(), Standing::AsInstalled);
        for path in [&install.firecracker, &install.jailer, &install.agent] {
            fs::write(path, "x").unwrap();
            let error = verify(&install).unwrap_err();
            assert!(matches!(error, Mismatch::Differs { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
            fs::write(path, "").unwrap();
            fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
            assert!(matches!(verify(&install), Err(Mismatch::Trust(_))));
            fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        fs::remove_file(&install.agent).unwrap();
        assert!(verify(&install).is_err());
    }

    #[test]
    fn only_roots_own_manifest_is_believed() {
        let Some(at) = roots_directory("only_roots_own_manifest_is_believed") else {
            return;
        };
        let install = installed(at.path());
        let manifest = at.path().join(FILE);
        chown(&manifest, Some(1000), None).unwrap();
        let error = verify(&install).unwrap_err();
        assert!(matches!(error, Mismatch::Manifest(InstallError::Trust(_))));
        chown(&manifest, Some(0), None).unwrap();
        for text in ["programs = 1", "[programs]\n", "[programs]\n[more]\n"] {
            fs::write(&manifest, text).unwrap();
            assert!(verify(&install).is_err(), "{text}");
        }
        fs::remove_file(&manifest).unwrap();
        assert_eq!(verify(&install).unwrap(), Standing::NoManifest);
    }

    #[tokio::test]
    async fn a_start_is_refused_by_name_until_it_is_installed_again() {
        let Some(at) = roots_directory("a_start_is_refused_by_name") else {
            return;
        };
        let install = installed(at.path());
        fs::write(&install.jailer, "x").unwrap();
        let host = Host::new(install.clone());
        let refused = host.programs_as_installed().await.unwrap_err();
        assert!(refused.message.contains("is not the jailer"), "{refused}");
        assert!(refused.message.contains("sudo banger system install"));
        fs::write(&install.jailer, "").unwrap();
        host.programs_as_installed().await.unwrap();
    }
}
