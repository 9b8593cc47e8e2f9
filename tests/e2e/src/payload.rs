//! What a host needs to become one that runs banger: the binaries that were
//! just built, and the example specs, in one directory for `/payload`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{Stages, run::run};

const AGENT_TARGET: &str = "x86_64-unknown-linux-gnu";
/// What is installed, and what runs beside it (`tests/inside`).
const PROGRAMS: [&str; 6] = [
    "banger",
    "bangerd",
    "banger-helper",
    "conformance",
    "attack",
    "hostile",
];

/// What an installation has of ours.
pub(crate) const INSTALLED: [&str; 4] = ["banger", "bangerd", "banger-helper", "banger-agent"];

/// The top of the checkout that this program was built from.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// cargo, as it is called for this checkout: the one that built us, or the one in PATH.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(top());
    command
}

/// Builds banger and puts it into a new directory.
///
/// # Errors
/// A build fails.
pub fn build(stages: Stages) -> Result<tempfile::TempDir> {
    let programs = beside_us()?;
    stages.run("build banger", || {
        // The whole workspace, as `cargo run` built us: with fewer packages the
        // dependencies get other features, and are all built once more.
        run(cargo().args(["build", "--quiet", "--workspace", "--bins"]))?;
        Ok(())
    })?;
    stages.run("build the guest agent (static)", || {
        let build = [
            "build",
            "--quiet",
            "--profile",
            "agent",
            "-p",
            "banger-agent",
        ];
        run(cargo()
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .args(build)
            .args(["--target", AGENT_TARGET]))?;
        Ok(())
    })?;
    let payload = tempfile::tempdir().context("cannot make a directory for the payload")?;
    for program in PROGRAMS {
        copy(&programs.join(program), &payload.path().join(program))?;
    }
    // Their debugging information would be most of what the host has to copy.
    strip(
        "--strip-debug",
        PROGRAMS.map(|program| payload.path().join(program)),
    )?;
    copy(&agent()?, &payload.path().join("banger-agent"))?;
    let examples = payload.path().join("examples");
    fs::create_dir(&examples).context("cannot make a directory for the examples")?;
    for entry in fs::read_dir(top().join("specs/examples")).context("cannot read specs/examples")? {
        let path = entry.context("cannot read specs/examples")?.path();
        if let Some(name) = path.file_name() {
            copy(&path, &examples.join(name))?;
        }
    }
    Ok(payload)
}

/// A directory with what an installation has of ours, as `build` left it.
///
/// # Errors
/// It wasn't built.
pub(crate) fn installed() -> Result<tempfile::TempDir> {
    let (programs, all) = (beside_us()?, tempfile::tempdir()?);
    for program in INSTALLED {
        let from = match program {
            "banger-agent" => agent()?,
            _ => programs.join(program),
        };
        copy(&from, &all.path().join(program))?;
    }
    Ok(all)
}

/// The same profile and target directory as our own program's.
fn beside_us() -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot find our own program")?;
    let programs = here.parent().context("our own program has no directory")?;
    Ok(programs.to_owned())
}

/// The target directory.
pub(crate) fn target() -> Result<PathBuf> {
    let programs = beside_us()?;
    let target = programs
        .parent()
        .context("our own program is in no target directory")?;
    Ok(target.to_owned())
}

fn agent() -> Result<PathBuf> {
    Ok(target()?.join(AGENT_TARGET).join("agent/banger-agent"))
}

/// Takes away what programs run without, by an option of `strip`.
pub(crate) fn strip(what: &str, programs: impl IntoIterator<Item = PathBuf>) -> Result<()> {
    run(Command::new("strip").arg(what).args(programs)).context("cannot strip the programs")?;
    Ok(())
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_file() {
        bail!("{} is not there", from.display());
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}
