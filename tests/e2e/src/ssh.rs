//! Logging in to the host: one lasting connection a user, over which every
//! command is a cheap channel.
//!
//! The connection's process (ssh's "control master") ends when QEMU does, for
//! then its TCP connection breaks: nothing is left behind.

use std::{
    fs::{self, DirBuilder, File},
    io::Read as _,
    os::fd::BorrowedFd,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{
    digest::Digest,
    interrupt,
    process::{Waited, wait_end_or},
    run::run,
};

/// An account of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// uid 1000: the person whose banger it is.
    Owner,
    /// uid 0.
    Root,
    /// uid 1001: somebody else on the same host.
    Stranger,
}

impl User {
    /// The account's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Root => "root",
            Self::Stranger => "stranger",
        }
    }
}

/// What a command in the host did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 255 also when ssh itself failed.
    pub status: i32,
    /// What it printed. Bytes that aren't UTF-8 are replaced.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// The standard output, if the status was 0.
    ///
    /// # Errors
    /// The status wasn't 0; the error shows everything.
    pub fn ok(self) -> Result<String> {
        if self.status == 0 {
            return Ok(self.stdout);
        }
        bail!(
            "status {}\nstdout: {}\nstderr: {}",
            self.status,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}

/// The way in: port and key of one instance.
#[derive(Debug, Clone)]
pub struct Ssh {
    port: u16,
    key: PathBuf,
    /// Holds the control sockets: their paths must be short (unix(7)).
    sockets: PathBuf,
    log: PathBuf,
}

/// Makes an ed25519 key pair at `key` and returns the base64 part of the public
/// one.
///
/// # Errors
/// ssh-keygen fails.
pub(crate) fn generate_key(key: &Path) -> Result<String> {
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "banger-e2e", "-f"])
        .arg(key))?;
    let public = fs::read_to_string(key.with_extension("pub")).context("cannot read the key")?;
    let base64 = public.split_whitespace().nth(1);
    Ok(base64.context("ssh-keygen wrote no key")?.to_owned())
}

impl Ssh {
    /// The way into the instance that lives in `directory`.
    ///
    /// # Errors
    /// The directory of the control sockets belongs to someone else.
    pub(crate) fn new(directory: &Path, port: u16) -> Result<Self> {
        let uid = rustix::process::getuid().as_raw();
        let path = directory.to_string_lossy();
        let of_instance = Digest::of_parts([("instance", path.as_bytes())]);
        let name = format!("banger-e2e-{uid}-{}", &of_instance.short()[..8]);
        let sockets = std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(&sockets) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make {}", sockets.display()));
            }
            _ => {}
        }
        let found = fs::symlink_metadata(&sockets)
            .with_context(|| format!("cannot look at {}", sockets.display()))?;
        if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
            bail!(
                "{} is not a private directory of ours; remove it",
                sockets.display()
            );
        }
        Ok(Self {
            port,
            key: directory.join("key"),
            sockets,
            log: directory.join("ssh.log"),
        })
    }

    /// Forgets the connections: after QEMU's end they lead nowhere.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_dir_all(&self.sockets);
    }

    /// An ssh command up to and including the destination.
    fn base(&self, user: &str, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "/dev/null", "-i"])
            .arg(&self.key)
            .args(["-p", &self.port.to_string(), "-S"])
            .arg(self.sockets.join(user));
        for option in [
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "LogLevel=ERROR",
            "ConnectTimeout=30",
            "ServerAliveInterval=20",
            "ServerAliveCountMax=6",
            // A fresh machine each time, on this machine's own loopback.
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
        ] {
            command.args(["-o", option]);
        }
        command.args(options).arg(format!("{user}@127.0.0.1"));
        command
    }

    /// Opens the user's connection unless it is open.
    ///
    /// # Errors
    /// The host doesn't let us in.
    pub fn connect(&self, user: &str) -> Result<()> {
        if self.sockets.join(user).exists() {
            return Ok(());
        }
        let _ = DirBuilder::new().mode(0o700).create(&self.sockets);
        let log = File::create(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        // -f: returns once logged in. The process that stays behind must hold
        // none of our pipes.
        let status = self
            .base(
                user,
                &[
                    "-f",
                    "-N",
                    "-o",
                    "ControlMaster=yes",
                    "-o",
                    "ControlPersist=yes",
                ],
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .status()
            .context("cannot run ssh; `host deps` installs it")?;
        if status.success() || self.sockets.join(user).exists() {
            return Ok(());
        }
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        bail!("cannot log in as {user}: {}", said.trim_end());
    }

    /// The ssh command that runs `script` in the user's shell; `None` is a
    /// login shell.
    ///
    /// # Errors
    /// As `connect`.
    pub fn command(&self, user: &str, script: Option<&str>, terminal: bool) -> Result<Command> {
        self.connect(user)?;
        let tty = if terminal { "-t" } else { "-T" };
        let mut command = self.base(user, &[tty, "-o", "ControlMaster=no"]);
        if let Some(script) = script {
            command.arg("--").arg(script);
        }
        Ok(command)
    }

    /// Runs a shell command and catches what it prints.
    ///
    /// # Errors
    /// ssh can't be run, or the command isn't done within `limit`.
    pub fn exec(&self, user: &str, script: &str, limit: Duration) -> Result<Output> {
        let mut command = self.command(user, Some(script), false)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ssh")?;
        let (status, stdout, stderr) =
            finish(child, limit, interrupt::held()).with_context(|| format!("{user}: {script}"))?;
        Ok(Output {
            status: status.code().unwrap_or(255),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }
}

/// Reads both pipes to their end and waits, at most `limit`, and no longer once
/// `signals` is readable. What is not waited for any more is killed.
fn finish(
    mut child: Child,
    limit: Duration,
    signals: Option<BorrowedFd<'_>>,
) -> Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut stdout = child.stdout.take().context("no pipe")?;
    let mut stderr = child.stderr.take().context("no pipe")?;
    let pidfd =
        pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).context("cannot watch ssh")?;
    thread::scope(|scope| {
        let out = scope.spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).map(|_| bytes)
        });
        let err = scope.spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).map(|_| bytes)
        });
        let waited = wait_end_or(&pidfd, signals, limit).context("cannot wait for ssh")?;
        if waited != Waited::Ended {
            child.kill().context("cannot kill ssh")?;
        }
        let status = child.wait().context("cannot wait for ssh")?;
        let panicked = |_| anyhow!("a reader panicked");
        let stdout = out.join().map_err(panicked)??;
        let stderr = err.join().map_err(panicked)??;
        match waited {
            Waited::Ended => return Ok((status, stdout, stderr)),
            Waited::Interrupted => bail!("interrupted"),
            Waited::TimedOut => {}
        }
        bail!(
            "not done within {} s; so far it printed:\n{}{}",
            limit.as_secs(),
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{io::Write as _, os::fd::AsFd as _, time::Instant};

    use super::*;

    fn child(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().unwrap()
    }

    #[test]
    fn an_interrupt_ends_a_command_and_one_that_ended_is_its_own() {
        let (signals, mut signal) = std::io::pipe().unwrap();
        let limit = Duration::from_secs(100);
        let ended = finish(child("echo out; exit 3"), limit, Some(signals.as_fd()));
        let (status, stdout, _) = ended.unwrap();
        assert_eq!((status.code(), stdout.as_slice()), (Some(3), &b"out\n"[..]));

        signal.write_all(b"x").unwrap();
        let start = Instant::now();
        let error = finish(child("exec sleep 100"), limit, Some(signals.as_fd()));
        assert_eq!(error.unwrap_err().to_string(), "interrupted");
        assert!(start.elapsed() < limit, "it was waited for");
    }

    #[test]
    fn what_takes_too_long_is_killed_and_shown() {
        let limit = Duration::from_millis(200);
        let error = finish(child("echo so far; exec sleep 100"), limit, None);
        let told = error.unwrap_err().to_string();
        assert!(told.starts_with("not done within 0 s"), "{told}");
    }
}
