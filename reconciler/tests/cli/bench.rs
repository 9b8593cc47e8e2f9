//! A home directory, a socket, and `banger` run with nothing else in its environment.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use banger::wire::{Request, Response};

use crate::daemon::FakeDaemon;

pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit code: {:?}\n-- stdout\n{}-- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for directory in [
            "home/.config/banger/vms",
            "home/.config/banger/images",
            "bin",
            "work",
        ] {
            fs::create_dir_all(bench.path(directory)).unwrap();
        }
        bench
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    /// A file below the bench's directory.
    pub(crate) fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    pub(crate) fn vm_file(&self, name: &str) -> PathBuf {
        self.path("home/.config/banger/vms").join(name)
    }

    pub(crate) fn daemon(
        &self,
        script: impl Fn(&Request) -> Vec<Response> + Send + Sync + 'static,
    ) -> FakeDaemon {
        FakeDaemon::listen(&self.socket(), script)
    }

    /// A program that stands before all others in PATH.
    pub(crate) fn program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.write(&format!("bin/{name}"), script);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banger"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path("home"))
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .env("LC_ALL", "C.UTF-8")
            .env("BANGER_SOCKET", self.socket())
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn banger(&self, arguments: &[&str]) -> Outcome {
        let output = self.command(arguments).output().unwrap();
        self.outcome(&output)
    }

    pub(crate) fn banger_with(&self, arguments: &[&str], stdin: &str) -> Outcome {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(stdin.as_bytes())
            .unwrap();
        self.outcome(&child.wait_with_output().unwrap())
    }

    fn outcome(&self, output: &std::process::Output) -> Outcome {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            assert!(
                !text.contains('\x1b'),
                "colour without a terminal: {text:?}"
            );
            redact(&text, self.dir.path())
        };
        Outcome {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// The directory's name and lengths of time differ from run to run.
fn redact(text: &str, directory: &Path) -> String {
    let text = text.replace(directory.to_str().unwrap(), "[DIR]");
    let mut redacted = String::new();
    for line in text.split_inclusive('\n') {
        match line.rfind(" (").filter(|_| line.ends_with("s)\n")) {
            Some(at) => redacted.push_str(&format!("{} ([TIME])\n", &line[..at])),
            None => redacted.push_str(line),
        }
    }
    redacted
}
