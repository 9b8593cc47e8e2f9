//! Running a program to its end, with its own words in the error.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs it with its output caught; returns its standard output.
///
/// # Errors
/// It can't be started, or its status isn't 0: the error then ends with the
/// last lines that it wrote to standard error.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}; `host deps` installs what is missing"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(15)..].join("\n  ");
    bail!("{program} failed with {}:\n  {tail}", output.status);
}
