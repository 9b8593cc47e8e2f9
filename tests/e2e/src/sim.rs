//! `bangerd --sim` with many VMs, for benchmarks.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

/// How long so many VMs may take to be Ready.
const PATIENCE: Duration = Duration::from_secs(300);

/// A daemon on the simulated host; killed with its handle.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    program: PathBuf,
    top: tempfile::TempDir,
    /// How long it took until all VMs were Ready.
    pub took: Duration,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// With `vm-0`, `vm-1`, …, all Ready. The programs are those beside ours.
    ///
    /// # Errors
    /// It can't be started, or not all VMs become Ready.
    pub fn with_vms(vms: u32) -> Result<Self> {
        let here = std::env::current_exe().context("cannot find our own program")?;
        let programs = here.parent().context("our own program has no directory")?;
        let top = tempfile::tempdir().context("cannot make a directory")?;
        for directory in ["vms", "images"] {
            fs::create_dir_all(top.path().join("config").join(directory))?;
        }
        fs::write(
            top.path().join("config/images/debian.yaml"),
            "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian}\n\
             spec: {rootfs: {disk: {path: /images/debian.ext4}}}\n",
        )?;
        for n in 0..vms {
            fs::write(top.path().join(file(n)), document(n, 1))?;
        }
        let start = Instant::now();
        let child = Command::new(programs.join("bangerd"))
            .arg("--sim")
            .arg("--state-dir")
            .arg(top.path().join("state"))
            .arg("--config-dir")
            .arg(top.path().join("config"))
            .arg("--socket")
            .arg(top.path().join("bangerd.sock"))
            .env("HOME", top.path())
            .stdin(Stdio::null())
            .stderr(fs::File::create(top.path().join("bangerd.log"))?)
            .spawn()
            .context("cannot start bangerd; build it first: `cargo build --release -p banger`")?;
        let mut daemon = Self {
            child,
            program: programs.join("banger"),
            top,
            took: Duration::ZERO,
        };
        while daemon.ready() < vms as usize {
            if start.elapsed() > PATIENCE {
                let log = fs::read_to_string(daemon.top.path().join("bangerd.log"));
                bail!(
                    "only {} VMs are Ready after {} s\n{}",
                    daemon.ready(),
                    PATIENCE.as_secs(),
                    log.unwrap_or_default()
                );
            }
            thread::sleep(Duration::from_millis(200));
        }
        daemon.took = start.elapsed();
        Ok(daemon)
    }

    /// The CLI, as a client of it.
    #[must_use]
    pub fn banger(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("BANGER_SOCKET", self.top.path().join("bangerd.sock"))
            .env("NO_COLOR", "1");
        command
    }

    /// Writes the document of a VM.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, n: u32, vcpus: u32) -> Result<()> {
        fs::write(self.top.path().join(file(n)), document(n, vcpus))?;
        Ok(())
    }

    /// How many VMs are Ready.
    fn ready(&self) -> usize {
        let output = self.banger(&["get", "vms"]).output();
        output.map_or(0, |output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .filter(|line| line.contains("Ready"))
                .count()
        })
    }
}

fn file(n: u32) -> PathBuf {
    PathBuf::from(format!("config/vms/vm-{n}.yaml"))
}

fn document(n: u32, vcpus: u32) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: vm-{n}}}\n\
         spec:\n  image: debian\n  vcpus: {vcpus}\n  memory: 512Mi\n"
    )
}

/// Wall time of a whole process, and what it printed.
///
/// # Errors
/// It can't be run, or ends with another status.
pub fn time(command: &mut Command, status: i32) -> Result<(Duration, String)> {
    let start = Instant::now();
    let output = command.output().context("cannot run banger")?;
    let took = start.elapsed();
    ensure!(
        output.status.code() == Some(status),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok((took, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// The middle one; sorts them.
#[must_use]
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
