//! How long a preview takes: `banger diff` with many admitted VMs, a few of
//! them edited, against a daemon on the simulated host. Each measured run is
//! paired with one of `banger version`, which asks the same daemon for next to
//! nothing: the ratio holds when the machine's speed drifts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;

/// Measures `banger diff` on the simulated host.
#[derive(Parser)]
struct Arguments {
    /// VMs that are admitted.
    #[arg(long, default_value_t = 1000)]
    vms: u32,
    /// VMs that are edited.
    #[arg(long, default_value_t = 10)]
    edited: u32,
    /// Measured runs, after three that aren't.
    #[arg(long, default_value_t = 20)]
    runs: usize,
}

/// A daemon on the simulated host; killed with its handle.
struct Daemon {
    child: Child,
    program: PathBuf,
    socket: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(programs: &Path, top: &Path) -> Result<Self> {
        let socket = top.join("bangerd.sock");
        let child = Command::new(programs.join("bangerd"))
            .arg("--sim")
            .args([Path::new("--state-dir"), &top.join("state")])
            .args([Path::new("--config-dir"), &top.join("config")])
            .args([Path::new("--socket"), &socket])
            .env("HOME", top)
            .stdin(Stdio::null())
            .stderr(fs::File::create(top.join("bangerd.log"))?)
            .spawn()
            .context("cannot start bangerd; build it first: `cargo build --release -p banger`")?;
        Ok(Self {
            child,
            program: programs.join("banger"),
            socket,
        })
    }

    fn banger(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("BANGER_SOCKET", &self.socket)
            .env("NO_COLOR", "1");
        command
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

fn document(n: u32, vcpus: u32) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: vm-{n}}}\n\
         spec:\n  image: debian\n  vcpus: {vcpus}\n  memory: 512Mi\n"
    )
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let here = std::env::current_exe().context("cannot find our own program")?;
    let programs = here.parent().context("our own program has no directory")?;
    let top = tempfile::tempdir().context("cannot make a directory")?;
    let vms = top.path().join("config/vms");
    fs::create_dir_all(&vms)?;
    fs::create_dir_all(top.path().join("config/images"))?;
    fs::write(
        top.path().join("config/images/debian.yaml"),
        "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian}\n\
         spec: {rootfs: {disk: {path: /images/debian.ext4}}}\n",
    )?;
    for n in 0..arguments.vms {
        fs::write(vms.join(format!("vm-{n}.yaml")), document(n, 1))?;
    }
    let daemon = Daemon::start(programs, top.path())?;
    let start = Instant::now();
    while daemon.ready() < arguments.vms as usize {
        if start.elapsed() > Duration::from_secs(300) {
            let log = fs::read_to_string(top.path().join("bangerd.log")).unwrap_or_default();
            bail!("only {} VMs are Ready after 300 s\n{log}", daemon.ready());
        }
        thread::sleep(Duration::from_millis(200));
    }
    println!(
        "{} VMs Ready on the simulated host after {:.1} s",
        arguments.vms,
        start.elapsed().as_secs_f64()
    );
    for n in 0..arguments.edited {
        fs::write(vms.join(format!("vm-{n}.yaml")), document(n, 2))?;
    }
    let (mut diffs, mut floors) = (Vec::new(), Vec::new());
    for run in 0..arguments.runs + 3 {
        let (diff, shown) = time(&mut daemon.banger(&["diff"]), 1)?;
        let (floor, _) = time(&mut daemon.banger(&["version"]), 0)?;
        let names = (0..arguments.edited)
            .filter(|n| shown.contains(&format!("vm-{n}")))
            .count();
        ensure!(
            names == arguments.edited as usize,
            "diff shows {names} of the edited VMs:\n{shown}"
        );
        if run >= 3 {
            diffs.push(diff);
            floors.push(floor);
        }
    }
    diffs.sort();
    floors.sort();
    let middle = |times: &[Duration]| times[times.len() / 2].as_secs_f64() * 1000.0;
    println!(
        "banger diff: median of {} runs {:.1} ms ({:.1} to {:.1}); banger version: {:.1} ms; ratio {:.1}",
        diffs.len(),
        middle(&diffs),
        diffs[0].as_secs_f64() * 1000.0,
        diffs[diffs.len() - 1].as_secs_f64() * 1000.0,
        middle(&floors),
        middle(&diffs) / middle(&floors)
    );
    Ok(())
}

/// Wall time of a whole process, and what it printed.
fn time(command: &mut Command, status: i32) -> Result<(Duration, String)> {
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
