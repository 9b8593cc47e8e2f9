//! Running a program to its end, with its own words in the error.
//!
//! Guarantees: where interrupts are held back ([`crate::Interrupts`]), one that
//! comes ends the program, and its end is waited for: nothing goes on building,
//! as root, after the process that holds the lock.

use std::{
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use crate::{interrupt, process::wait_end};

/// For a program that is asked to end: mmdebstrap waits for those that it runs.
const TO_END: Duration = Duration::from_secs(60);

/// Runs it with its output caught; returns its standard output.
///
/// # Errors
/// It can't be started, its status isn't 0: the error then ends with the last
/// lines that it wrote to standard error; or it was interrupted.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null());
    let output = match interrupt::held() {
        Some(signals) => run_until(command, signals)?,
        None => command.output().with_context(|| cannot_run(&program))?,
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(15)..].join("\n  ");
    bail!("{program} failed with {}:\n  {tail}", output.status);
}

fn cannot_run(program: &str) -> String {
    format!("cannot run {program}; `host deps` installs what is missing")
}

/// As `Command::output`, but ends the program once `signals` is readable.
fn run_until(command: &mut Command, signals: BorrowedFd<'_>) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    ensure!(
        !interrupt::is_there(signals)?,
        "interrupted before {program} ran"
    );
    // sudo must stay in the terminal's group, or it can't ask for a password.
    let sudo = program == "sudo";
    if !sudo {
        command.process_group(0);
    }
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| cannot_run(&program))?;
    let pid = Pid::from_child(&child);
    let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch a program")?;
    let output = thread::spawn(move || child.wait_with_output());
    let interrupted = comes_first(signals, &process)?;
    if interrupted {
        end(&process, pid, sudo).with_context(|| format!("{program} goes on"))?;
    }
    let output = output
        .join()
        .map_err(|_| anyhow::anyhow!("what waits for {program} panicked"))?
        .with_context(|| format!("cannot wait for {program}"))?;
    ensure!(!interrupted, "interrupted; {program} was ended");
    Ok(output)
}

/// Whether a signal is there before the process ends.
fn comes_first(signals: BorrowedFd<'_>, process: &OwnedFd) -> Result<bool> {
    let mut fds = [
        PollFd::from_borrowed_fd(signals, PollFlags::IN),
        PollFd::new(process, PollFlags::IN),
    ];
    rustix::io::retry_on_intr(|| poll(&mut fds, None)).context("cannot wait for a program")?;
    Ok(!fds[0].revents().is_empty())
}

/// Ends a program and all that it started, politely first: it may have mounts
/// to undo. sudo passes on what it is sent, SIGKILL excepted.
fn end(process: &OwnedFd, pid: Pid, sudo: bool) -> Result<()> {
    if sudo {
        let pid = pid.as_raw_nonzero().to_string();
        let asked = Command::new("sudo")
            .args(["-n", "kill", "-s", "TERM", &pid])
            .stderr(Stdio::null())
            .status();
        // In a terminal the interrupt went to it as well.
        asked.context("cannot run sudo")?;
        ensure!(
            wait_end(process, TO_END)?,
            "it did not end within {} s",
            TO_END.as_secs()
        );
        return Ok(());
    }
    for signal in [Signal::TERM, Signal::KILL] {
        match kill_process_group(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).context("it can't be signalled"),
        }
        if wait_end(process, TO_END)? {
            // One that was just being started may have missed the first signal, and
            // would hold the output open.
            return match kill_process_group(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(error) => Err(error).context("what it started can't be signalled"),
            };
        }
    }
    bail!("it did not end after SIGKILL");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, io::Write as _, os::fd::AsFd as _};

    use super::*;

    /// Its own end, and that of what it started, which holds its output open.
    #[test]
    fn an_interrupt_ends_the_program_and_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let (began, ended) = (
            directory.path().join("began"),
            directory.path().join("ended"),
        );
        nix::unistd::mkfifo(&began, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (signals, mut signal) = std::io::pipe().unwrap();
        let script = "trap 'echo ended > \"$1\"; exit 1' TERM; sleep 1000 & echo > \"$0\"; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).args([&began, &ended]);
        let interrupter = thread::spawn(move || {
            // Blocks until the program opens it.
            fs::read(began).unwrap();
            signal.write_all(b"x").unwrap();
        });
        let error = run_until(&mut command, signals.as_fd()).unwrap_err();
        interrupter.join().unwrap();
        assert_eq!(error.to_string(), "interrupted; sh was ended");
        assert_eq!(fs::read_to_string(ended).unwrap(), "ended\n");
        // It stays pending: what would run next doesn't.
        let error = run_until(&mut Command::new("true"), signals.as_fd()).unwrap_err();
        assert_eq!(error.to_string(), "interrupted before true ran");
    }

    #[test]
    fn without_an_interrupt_all_is_as_ever() {
        let (signals, _signal) = std::io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let output = run_until(&mut command, signals.as_fd()).unwrap();
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");
        assert_eq!(output.status.code(), Some(3));
    }
}
