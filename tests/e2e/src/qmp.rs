//! QEMU's own door: a socket in the instance's directory that takes one JSON
//! object a line (QMP).

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::shell::quote;

/// The socket's name, relative to QEMU's working directory: the whole path may
/// be longer than a socket's address takes (unix(7)).
pub(crate) const SOCKET: &str = "qmp.sock";
/// A state is written, or read, within this.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at how that goes.
const STEP: Duration = Duration::from_millis(20);

pub(crate) struct Qmp(BufReader<UnixStream>);

impl Qmp {
    /// Opens the door of the QEMU that runs in `directory`.
    ///
    /// # Errors
    /// It isn't there, or isn't QEMU.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let directory = File::open(directory).context("cannot open the instance's directory")?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        let socket = UnixStream::connect(path).context("QEMU does not answer")?;
        socket
            .set_read_timeout(Some(LIMIT))
            .context("cannot limit the wait for QEMU")?;
        let mut qmp = Self(BufReader::new(socket));
        qmp.line().context("QEMU does not greet")?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Writes the state of everything but the disks and the memory to a file and
    /// stops the machine. The memory must lie in a shared file.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn save(&mut self, state: &Path) -> Result<()> {
        self.leave_out_memory()?;
        let target = format!("exec:cat > {}", quote(text(state)?));
        self.execute("migrate", &json!({ "uri": target }))?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.execute("query-migrate", &json!({}))?;
            match answer["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => bail!("QEMU can't save its state: {answer}"),
                _ if Instant::now() > deadline => bail!("saving takes too long: {answer}"),
                _ => sleep(STEP),
            }
        }
    }

    /// Reads what [`Self::save`] wrote, and goes on from there.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn load(&mut self, state: &Path) -> Result<()> {
        self.leave_out_memory()?;
        let source = format!("exec:cat {}", quote(text(state)?));
        self.execute("migrate-incoming", &json!({ "uri": source }))?;
        let deadline = Instant::now() + LIMIT;
        while !self.runs()? {
            ensure!(Instant::now() < deadline, "loading takes too long");
            sleep(STEP);
        }
        Ok(())
    }

    /// The memory's file is the memory: no copy of it is written or read.
    fn leave_out_memory(&mut self) -> Result<()> {
        let capability = json!({ "capability": "x-ignore-shared", "state": true });
        self.execute(
            "migrate-set-capabilities",
            &json!({ "capabilities": [capability] }),
        )?;
        Ok(())
    }

    fn runs(&mut self) -> Result<bool> {
        let status = self.execute("query-status", &json!({}))?;
        Ok(status["running"] == true)
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.0.get_mut(), "{request}").with_context(|| format!("QMP {command}"))?;
        loop {
            let mut answer = self.line().with_context(|| format!("QMP {command}"))?;
            if answer.get("error").is_some() {
                bail!("QMP {command}: {}", answer["error"]["desc"]);
            }
            // Everything else is an event, which nobody here waits for.
            if answer.get("return").is_some() {
                return Ok(answer["return"].take());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            bail!("QEMU has ended");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path is not UTF-8")
}
