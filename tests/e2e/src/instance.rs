//! One disposable host: its directory, its QEMU process, its life.
//!
//! ```text
//!          up                 reset (kill, boot the same disk)
//! (none) ------> running <--------------------+
//!    ^              |  \______________________|
//!    +--------------+
//!     down (kill, remove the directory)
//! ```
//!
//! The directory `instances/<name>` holds the disk, the payload, the key, the
//! console log, and two descriptions: `machine.json` (how to start it) and
//! `process.json` (which process it is). Whoever changes an instance holds its
//! lock file.

use std::{
    fmt, fs,
    net::TcpListener,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    process::{Child, Command},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    artifacts::{Artifacts, pack},
    cache::Cache,
    console::{self, BootEnd},
    process::ProcessName,
    qemu::{Accel, Machine},
    run::run,
    ssh::{Ssh, generate_key},
    stages::Stages,
    state::{kill_process_of, lock, read_json, remove, running, write_json},
};

/// From QEMU's start to systemd's default target.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// An instance's name: 1 to 32 of `a-z`, `0-9` and `-`, as it names a directory
/// and appears in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceName(String);

impl FromStr for InstanceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err("use 1 to 32 of a-z, 0-9 and -, not beginning with -".to_owned())
        }
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a host is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// A directory whose content appears, read-only, at `/payload`.
    pub payload: Option<PathBuf>,
    /// Whether the disk keeps what was flushed across a power cut. Slower.
    pub durable: bool,
    /// Virtual CPUs.
    pub cpus: u8,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Whether the kernel kills QEMU when this process ends.
    pub die_with_us: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            payload: None,
            durable: false,
            cpus: 2,
            memory_mib: 4096,
            die_with_us: false,
        }
    }
}

/// A host that was started, by us or by an earlier program.
#[derive(Debug)]
pub struct Instance {
    name: InstanceName,
    directory: PathBuf,
    machine: Machine,
    ssh: Ssh,
    die_with_us: bool,
    /// QEMU, where we are its parent and so must wait for it.
    child: Option<Child>,
}

impl Instance {
    /// Starts a fresh host and waits until systemd is up.
    ///
    /// # Errors
    /// One of that name runs already; a file can't be made; it isn't up within
    /// 60 s. After an error nothing runs.
    pub fn up(
        cache: &Cache,
        artifacts: &Artifacts,
        accel: Accel,
        name: &InstanceName,
        options: &Options,
        stages: Stages,
        signals: Option<BorrowedFd<'_>>,
    ) -> Result<Self> {
        let directory = cache.instances().join(&name.0);
        let _lock = lock(cache, name)?;
        if running(&directory)?.is_some() {
            bail!("host {name} is already up; `host down --name {name}` ends it");
        }
        remove(&directory)?;
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let machine = stages.run("prepare disk and payload", || {
            prepare(&directory, artifacts, accel, name, options)
        })?;
        let mut instance = Self {
            ssh: Ssh::new(&directory, machine.ssh_port)?,
            name: name.clone(),
            directory,
            machine,
            die_with_us: options.die_with_us,
            child: None,
        };
        instance.boot(stages, signals)?;
        Ok(instance)
    }

    /// A host that was started before, running or not.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn find(cache: &Cache, name: &InstanceName) -> Result<Self> {
        let directory = cache.instances().join(&name.0);
        let machine: Machine = read_json(&directory.join("machine.json"))?.with_context(|| {
            format!("there is no host {name}; `host up --name {name}` starts it")
        })?;
        Ok(Self {
            ssh: Ssh::new(&directory, machine.ssh_port)?,
            name: name.clone(),
            directory,
            machine,
            die_with_us: false,
            child: None,
        })
    }

    /// Ends a host and removes its directory; nothing happens if there is none.
    /// Returns whether there was one.
    ///
    /// # Errors
    /// QEMU can't be killed, or the directory can't be removed.
    pub fn down(cache: &Cache, name: &InstanceName) -> Result<bool> {
        let directory = cache.instances().join(&name.0);
        let _lock = lock(cache, name)?;
        if !directory.exists() {
            return Ok(false);
        }
        match Self::find(cache, name) {
            Ok(mut instance) => {
                instance.kill()?;
                instance.ssh.forget();
            }
            // Its preparation was cut short; a process there may still be.
            Err(_) => kill_process_of(&directory)?,
        }
        remove(&directory)?;
        Ok(true)
    }

    /// The power cut: kills QEMU and boots the same disk again.
    ///
    /// # Errors
    /// It isn't up again within 60 s.
    pub fn reset(
        &mut self,
        cache: &Cache,
        stages: Stages,
        signals: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let _lock = lock(cache, &self.name)?;
        self.kill()?;
        // The old port may be taken by now.
        self.machine.ssh_port = free_port()?;
        self.ssh.forget();
        self.ssh = Ssh::new(&self.directory, self.machine.ssh_port)?;
        self.boot(stages, signals)
    }

    /// Kills QEMU, and waits for its end. The directory stays.
    ///
    /// # Errors
    /// It can't be killed.
    pub fn kill(&mut self) -> Result<()> {
        kill_process_of(&self.directory)?;
        if let Some(mut child) = self.child.take() {
            child.wait().context("cannot wait for QEMU")?;
        }
        Ok(())
    }

    /// The way in.
    #[must_use]
    pub fn ssh(&self) -> &Ssh {
        &self.ssh
    }

    /// The serial console's log, over all boots of this instance.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.machine.console.clone()
    }

    /// QEMU's pid, while it runs.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn process_id(&self) -> Result<Option<i32>> {
        Ok(running(&self.directory)?.map(|process| process.pid()))
    }

    /// Whether QEMU runs.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn is_running(&self) -> Result<bool> {
        Ok(running(&self.directory)?.is_some())
    }

    /// Starts QEMU and waits for the boot. Kills it on any failure.
    fn boot(&mut self, stages: Stages, signals: Option<BorrowedFd<'_>>) -> Result<()> {
        write_json(&self.directory.join("machine.json"), &self.machine)?;
        let title = format!("boot host {} under {}", self.name, self.machine.accel);
        let result = stages.run(&title, || self.start_and_wait(signals));
        if let Err(error) = result {
            self.kill()
                .with_context(|| format!("and QEMU is left over after: {error:#}"))?;
            return Err(error);
        }
        Ok(())
    }

    fn start_and_wait(&mut self, signals: Option<BorrowedFd<'_>>) -> Result<()> {
        let console = &self.machine.console;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(console)
            .with_context(|| format!("cannot write {}", console.display()))?;
        let offset = log.metadata()?.len();
        let messages = self.directory.join("qemu.log");
        let child = self
            .machine
            .spawn(&messages, self.die_with_us)
            .context("cannot start qemu-system-x86_64; `host deps` installs it")?;
        let process = ProcessName::of(child.id());
        self.child = Some(child);
        let process = process.context("QEMU ended at once")?;
        write_json(&self.directory.join("process.json"), &process)?;
        let end = match process.open()? {
            Some(pidfd) => console::wait_boot(console, offset, pidfd.as_fd(), signals, BOOT_LIMIT)?,
            None => BootEnd::Exited,
        };
        let name = &self.name;
        let said = || fs::read_to_string(&messages).unwrap_or_default();
        match end {
            BootEnd::Ready => Ok(()),
            BootEnd::Crashed(line) => Err(anyhow!("the kernel of host {name} died: {line}")),
            BootEnd::Exited => Err(anyhow!("QEMU of host {name} ended: {}", said().trim_end())),
            BootEnd::TimedOut => Err(anyhow!(
                "host {name} is not up after {} s; see {}",
                BOOT_LIMIT.as_secs(),
                console.display()
            )),
            BootEnd::Interrupted => Err(anyhow!("interrupted; host {name} is down again")),
        }
    }
}

/// Makes the files of a fresh instance.
fn prepare(
    directory: &Path,
    artifacts: &Artifacts,
    accel: Accel,
    name: &InstanceName,
    options: &Options,
) -> Result<Machine> {
    let root = directory.join("disk.ext4");
    run(Command::new("cp")
        .args(["--sparse=always", "--reflink=auto"])
        .args([&artifacts.disk, &root]))
    .context("cannot copy the host's disk")?;
    let payload = directory.join("payload.ext4");
    let nothing = directory.join("no-payload");
    let source = match &options.payload {
        Some(source) => source,
        None => {
            fs::create_dir(&nothing).context("cannot make a directory")?;
            &nothing
        }
    };
    pack(source, &payload, "payload")
        .with_context(|| format!("cannot pack the payload {}", source.display()))?;
    Ok(Machine {
        name: name.0.clone(),
        accel,
        cpus: options.cpus,
        memory_mib: options.memory_mib,
        kernel: artifacts.kernel.clone(),
        initrd: artifacts.initrd.clone(),
        root,
        durable: options.durable,
        images: artifacts.images.clone(),
        payload,
        console: directory.join("console.log"),
        ssh_port: free_port()?,
        ssh_key: generate_key(&directory.join("key"))?,
    })
}

/// A port of 127.0.0.1 that is free now. QEMU fails loudly if it no longer is.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["", "..", "a/b", "-x", "A", &"a".repeat(33)] {
            assert!(bad.parse::<InstanceName>().is_err(), "{bad:?}");
        }
        for good in ["a", "smoke-1", "0"] {
            assert_eq!(good.parse::<InstanceName>().unwrap().to_string(), good);
        }
    }

    #[test]
    fn down_kills_the_recorded_process_and_leaves_others_alone() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let name: InstanceName = "one".parse().unwrap();
        assert!(!Instance::down(&cache, &name).unwrap());

        let instance = cache.instances().join("one");
        let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessName::of(sleeper.id()).unwrap();
        fs::create_dir_all(&instance).unwrap();
        write_json(&instance.join("process.json"), &process).unwrap();
        assert!(Instance::down(&cache, &name).unwrap());
        assert!(!sleeper.wait().unwrap().success());
        assert!(!instance.exists());
    }
}
