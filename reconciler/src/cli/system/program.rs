//! Programs of the system's, run with a fixed argv.

use std::process::{Command, Stdio};

use crate::cli::{Exit, Failure};

/// Runs a program; its stderr becomes the cause of a failure.
///
/// # Errors
/// Where it can't be run or ends badly.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let what = || format!("`{program} {}` failed", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(Exit::Internal, what()).because(&error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(
        Failure::new(Exit::Internal, what()).cause(match stderr.as_str() {
            "" => output.status.to_string(),
            stderr => stderr.to_owned(),
        }),
    )
}

/// As [`run`], where it doesn't matter whether there was anything to do.
pub(in crate::cli) fn try_run(program: &str, arguments: &[&str]) -> Option<String> {
    run(program, arguments).ok()
}

/// The units of VMMs that run.
///
/// # Errors
/// Where systemd doesn't tell.
pub(super) fn running_vmms() -> Result<Vec<String>, Failure> {
    let text = run(
        "systemctl",
        &[
            "list-units",
            "--plain",
            "--no-legend",
            "--state=active",
            "banger-vm-*.service",
        ],
    )?;
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    Ok(text.lines().filter_map(first).collect())
}

/// Runs a program as an account, without root's groups. For what happens in
/// that account's own home: root follows no link there.
///
/// # Errors
/// As [`run`].
pub(super) fn run_as(
    owner: &super::owner::Owner,
    program: &str,
    arguments: &[&str],
) -> Result<(), Failure> {
    use std::os::unix::process::CommandExt as _;
    let what = || {
        format!(
            "`{program} {}` as {} failed",
            arguments.join(" "),
            owner.name
        )
    };
    let output = Command::new(program)
        .args(arguments)
        .uid(owner.uid)
        .gid(owner.gid)
        .env("HOME", &owner.home)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(Exit::Internal, what()).because(&error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(Exit::Internal, what())
        .cause(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
