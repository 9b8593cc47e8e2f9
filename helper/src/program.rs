//! The programs that root runs: found in the system's own directories, with a
//! fixed argv, an empty environment, and input on stdin.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::Failure;
use crate::install_file::trusted_program;

const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// None of them waits for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// A program of the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// dmsetup(8).
    Dmsetup,
    /// nft(8).
    Nft,
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::Dmsetup => "dmsetup",
            Self::Nft => "nft",
        }
    }

    /// Its path, once root alone can change it.
    fn find(self) -> Result<PathBuf, Failure> {
        let name = self.name();
        for directory in DIRECTORIES {
            // `/sbin` is a link on a merged system; what it leads to is checked.
            let Ok(path) = Path::new(directory).join(name).canonicalize() else {
                continue;
            };
            return match trusted_program(&path) {
                Ok(()) => Ok(path),
                Err(e) => Err(Failure::refused(name, e.to_string())),
            };
        }
        Err(Failure::refused(
            name,
            format!("{name} is not installed in {}", DIRECTORIES.join(", ")),
        ))
    }

    /// Runs it; stdout if it succeeded, or a failure with its last words.
    pub async fn run(self, args: &[&str], input: &str) -> Result<String, Failure> {
        let name = self.name();
        let os = |e: std::io::Error| Failure::os(name, args.join(" "), e);
        let mut child = Command::new(self.find()?)
            .args(args)
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(os)?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that stops reading says why on stderr.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let run = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = tokio::time::timeout(DEADLINE, run)
            .await
            .map_err(|_| {
                Failure::later(
                    name,
                    format!("{}: no end after {DEADLINE:?}", args.join(" ")),
                )
            })?
            .map_err(os)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let words: Vec<&str> = stderr.split_whitespace().collect();
        let words: String = words.join(" ").chars().take(500).collect();
        if words.contains("Device or resource busy") {
            return Err(Failure::os(
                name,
                args.join(" "),
                std::io::Error::from_raw_os_error(nix::libc::EBUSY),
            ));
        }
        Err(Failure::later(
            name,
            format!("{}: {}: {words}", args.join(" "), output.status),
        ))
    }
}
