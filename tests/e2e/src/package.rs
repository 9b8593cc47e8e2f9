//! The Debian package: banger's programs and what a Debian host expects beside
//! them. What goes where, and what it depends on, is in `reconciler/Cargo.toml`;
//! the maintainer scripts are in `packaging/debian`.
//!
//! `programs -> stripped into target/release/deb, completions -> cargo-deb -> .deb`

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use cargo_deb::{
    BuildProfile, CargoDeb, CargoLockingFlags, OutputPath,
    compress::{CompressConfig, Format},
    config::{BuildOptions, DebConfigOverrides, DebugSymbolOptions, Multiarch},
    listener::Listener,
};

use crate::{payload, run::run};

/// Where each shell looks for its completion is in `reconciler/Cargo.toml`.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Packs the programs of this directory; returns where the package is. A `trial`
/// is packed quickly rather than small. A higher revision is a newer package.
///
/// # Errors
/// A program isn't there, or a tool of Debian's is missing.
pub fn pack(programs: &Path, revision: &str, trial: bool) -> Result<PathBuf> {
    // cargo-deb takes `target/release` for wherever the target directory is.
    let stage = payload::target()?.join("release/deb");
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("cannot empty {}", stage.display()))?;
    }
    let staged = stage.join("programs");
    fs::create_dir_all(&staged).with_context(|| format!("cannot make {}", staged.display()))?;
    for program in payload::INSTALLED {
        payload::copy(&programs.join(program), &staged.join(program))?;
    }
    payload::strip(
        "--strip-all",
        payload::INSTALLED.map(|program| staged.join(program)),
    )?;
    let completion = stage.join("completion");
    fs::create_dir(&completion).context("cannot make a directory for completions")?;
    for shell in SHELLS {
        let script = run(Command::new(staged.join("banger")).args(["completion", shell]))?;
        fs::write(completion.join(shell), script).context("cannot write a completion")?;
    }

    let packed = stage.join("packed");
    let mut overrides = DebConfigOverrides::default();
    overrides.deb_revision = Some(revision.to_owned());
    let deb = CargoDeb {
        options: BuildOptions {
            manifest_path: Some(&payload::top().join("reconciler/Cargo.toml")),
            selected_package_name: None,
            rust_target_triples: Vec::new(),
            config_variant: None,
            overrides,
            build_profile: BuildProfile::default(),
            debug: DebugSymbolOptions {
                strip_override: Some(false),
                ..DebugSymbolOptions::default()
            },
            cargo_locking_flags: CargoLockingFlags {
                locked: true,
                ..CargoLockingFlags::default()
            },
            multiarch: Multiarch::None,
            cargo_build_cmd: None,
            cargo_build_flags: Vec::new(),
        },
        no_build: true,
        verbose_cargo_build: false,
        verbose: false,
        // gzip and xz of the system's: cargo-deb's own are slow or one more library.
        compress_config: CompressConfig {
            fast: trial,
            compress_type: if trial { Format::Gzip } else { Format::Xz },
            compress_system: true,
            rsyncable: false,
        },
        deb_output: Some(OutputPath {
            path: &packed,
            is_dir: true,
        }),
        install: (false, false),
    };
    let warnings = Warnings::default();
    deb.process(&warnings)
        .context("cargo-deb cannot make the package")?;
    warnings.none()?;
    let mut made = fs::read_dir(&packed).context("cannot read what cargo-deb made")?;
    let package = made.next().context("cargo-deb made nothing")??.path();
    ensure!(made.next().is_none(), "cargo-deb made two packages");
    Ok(package)
}

/// What cargo-deb warns of: without dpkg-shlibdeps, say, a dependency is missing.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Listener for Warnings {
    fn info(&self, _: String) {}

    fn generated_archive(&self, _: &Path) {}

    fn warning(&self, message: String) {
        // The agent is static: it depends on nothing.
        if !message.ends_with("/programs/banger-agent") {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(message);
        }
    }
}

impl Warnings {
    fn none(&self) -> Result<()> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(all.is_empty(), "cargo-deb warns: {}", all.join("; "));
        Ok(())
    }
}
