//! One disposable host: its directory, its QEMU process, its life.
//!
//! ```text
//!          up                 reset (kill, boot the same disk)
//! (none) ------> running <--------------------+ reboot (down by itself, same disk)
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
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    str::FromStr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    artifacts::{Artifacts, pack},
    cache::Cache,
    console::{self, BootEnd},
    interrupt,
    process::{ProcessName, wait_end},
    qemu::{Accel, MESSAGES, Machine, Memory},
    qmp::Qmp,
    run::run,
    ssh::{Ssh, generate_key},
    stages::Stages,
    state::{kill_process_of, lock, read_json, remove, running, write_json},
};

/// From QEMU's start to systemd's default target.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// From the word to QEMU's end: a service may take systemd's 90 s to stop, and each
/// of those after it, too.
const DOWN_LIMIT: Duration = Duration::from_secs(300);
/// Between two looks whether QEMU answers yet.
const DOOR_STEP: Duration = Duration::from_millis(20);

const DISK: &str = "disk.ext4";
const PAYLOAD: &str = "payload.ext4";
const MEMORY: &str = "memory";
const MACHINE: &str = "machine.json";
/// What a saved host consists of, beside QEMU's state.
const SAVED_FILES: [&str; 6] = [DISK, PAYLOAD, MEMORY, MACHINE, "key", "key.pub"];
const SAVED_STATE: &str = "state";

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
    /// Whether it can be saved.
    pub savable: bool,
    /// Whether QEMU goes on when this process ends; otherwise the kernel kills it.
    pub outlives_us: bool,
    /// How long a boot may take.
    pub boot_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            payload: None,
            durable: false,
            cpus: 2,
            memory_mib: 4096,
            savable: false,
            outlives_us: false,
            boot_limit: BOOT_LIMIT,
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
    boot_limit: Duration,
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
    ) -> Result<Self> {
        let directory = cache.instances().join(&name.0);
        let _lock = lock(cache, name)?;
        vacate(&directory, name)?;
        let machine = stages.run("prepare disk and payload", || {
            prepare(&directory, artifacts, accel, name, options)
        })?;
        let mut instance = Self::of(directory, name, machine, options)?;
        instance.boot(stages)?;
        Ok(instance)
    }

    fn of(
        directory: PathBuf,
        name: &InstanceName,
        machine: Machine,
        options: &Options,
    ) -> Result<Self> {
        Ok(Self {
            ssh: Ssh::new(&directory, machine.ssh_port)?,
            name: name.clone(),
            directory,
            machine,
            die_with_us: !options.outlives_us,
            boot_limit: options.boot_limit,
            child: None,
        })
    }

    /// Freezes the host and moves all of it to `entry`: its disk, its memory, the
    /// key to it. Nothing of it is left but a directory to be removed;
    /// [`Self::resume`] brings it back as often as one likes.
    ///
    /// # Errors
    /// QEMU can't write its state, or a file can't be moved.
    pub(crate) fn save(&mut self, cache: &Cache, entry: &Path) -> Result<()> {
        let _lock = lock(cache, &self.name)?;
        Qmp::open(&self.directory)?.save(&entry.join(SAVED_STATE))?;
        self.kill()?;
        for file in SAVED_FILES {
            fs::rename(self.directory.join(file), entry.join(file))
                .with_context(|| format!("cannot keep the host's {file}"))?;
        }
        Ok(())
    }

    /// A host that goes on where another one was saved: same disk, same memory,
    /// same processes, its clock still at that time. The payload is the saved one.
    ///
    /// # Errors
    /// One of that name runs already; a file can't be made; QEMU can't read the
    /// state. After an error nothing runs.
    pub(crate) fn resume(
        cache: &Cache,
        entry: &Path,
        name: &InstanceName,
        options: &Options,
    ) -> Result<Self> {
        let directory = cache.instances().join(&name.0);
        let _lock = lock(cache, name)?;
        vacate(&directory, name)?;
        // Links: the entry may go while this host still reads from them.
        for file in ["key", "key.pub", PAYLOAD, MEMORY] {
            fs::hard_link(entry.join(file), directory.join(file))
                .with_context(|| format!("cannot link the saved host's {file}"))?;
        }
        let root = directory.join(DISK);
        copy_disk(&entry.join(DISK), &root)?;
        let saved: Machine =
            read_json(&entry.join(MACHINE))?.context("the saved host has no description")?;
        let machine = Machine {
            name: name.0.clone(),
            root,
            durable: options.durable,
            memory: Memory::Private(directory.join(MEMORY)),
            payload: directory.join(PAYLOAD),
            console: directory.join("console.log"),
            ssh_port: free_port()?,
            ..saved
        };
        write_json(&directory.join(MACHINE), &machine)?;
        let mut instance = Self::of(directory, name, machine, options)?;
        if let Err(error) = instance.start_and_resume(&entry.join(SAVED_STATE)) {
            let messages = fs::read_to_string(instance.directory.join(MESSAGES));
            instance.kill()?;
            return Err(error.context(format!(
                "host {name} doesn't go on; QEMU says: {}",
                messages.unwrap_or_default().trim_end()
            )));
        }
        Ok(instance)
    }

    fn start_and_resume(&mut self, state: &Path) -> Result<()> {
        fs::write(&self.machine.console, "").context("cannot make the console's file")?;
        self.start(true)?;
        let deadline = Instant::now() + BOOT_LIMIT;
        // The door is open a moment after the start.
        loop {
            match Qmp::open(&self.directory) {
                Err(error) if !self.is_running()? || Instant::now() > deadline => {
                    return Err(error);
                }
                Err(_) => sleep(DOOR_STEP),
                Ok(mut qmp) => return qmp.load(state),
            }
        }
    }

    /// A host that was started before, running or not.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn find(cache: &Cache, name: &InstanceName) -> Result<Self> {
        let directory = cache.instances().join(&name.0);
        let machine: Machine = read_json(&directory.join(MACHINE))?.with_context(|| {
            format!("there is no host {name}; `host up --name {name}` starts it")
        })?;
        Ok(Self {
            ssh: Ssh::new(&directory, machine.ssh_port)?,
            name: name.clone(),
            directory,
            machine,
            die_with_us: false,
            boot_limit: BOOT_LIMIT,
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
    pub fn reset(&mut self, cache: &Cache, stages: Stages) -> Result<()> {
        let _lock = lock(cache, &self.name)?;
        self.kill()?;
        self.boot_again(stages)
    }

    /// An orderly reboot: the host shuts itself down, as at a person's word, and the
    /// same disk is booted again.
    ///
    /// # Errors
    /// It isn't down within five minutes, or dies on the way; it isn't up again within
    /// 60 s.
    pub fn reboot(&mut self, cache: &Cache, stages: Stages) -> Result<()> {
        let _lock = lock(cache, &self.name)?;
        let title = format!("shut host {} down", self.name);
        stages.run(&title, || self.shut_down())?;
        self.boot_again(stages)
    }

    /// Ends with QEMU's own end, which is what a machine that is off comes to.
    fn shut_down(&mut self) -> Result<()> {
        let name = self.name.clone();
        let console = self.console();
        let offset = fs::metadata(&console).map_or(0, |file| file.len());
        let process = running(&self.directory)?.and_then(|process| process.open().transpose());
        let process = process.with_context(|| format!("host {name} isn't running"))??;
        let ask = "systemctl --no-block poweroff";
        let asked = self.ssh.exec("root", ask, DOWN_LIMIT)?;
        // 255: the connection went before its answer came.
        if ![0, 255].contains(&asked.status) {
            bail!("host {name} doesn't shut down: {asked:?}");
        }
        if !wait_end(&process, DOWN_LIMIT).context("cannot wait for QEMU")? {
            bail!(
                "host {name} is not down after {} s; see {}",
                DOWN_LIMIT.as_secs(),
                console.display()
            );
        }
        if let Some(mut child) = self.child.take() {
            child.wait().context("cannot wait for QEMU")?;
        }
        // A kernel that panics ends QEMU as well.
        let said = console::read_from(&console, offset).context("cannot read the console")?;
        match console::death_in(&said) {
            Some(line) => bail!("the kernel of host {name} died: {line}"),
            None => Ok(()),
        }
    }

    fn boot_again(&mut self, stages: Stages) -> Result<()> {
        self.machine.memory = Memory::Anonymous;
        // The old port may be taken by now.
        self.machine.ssh_port = free_port()?;
        self.ssh.forget();
        self.ssh = Ssh::new(&self.directory, self.machine.ssh_port)?;
        self.boot(stages)
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
    fn boot(&mut self, stages: Stages) -> Result<()> {
        write_json(&self.directory.join(MACHINE), &self.machine)?;
        let title = format!("boot host {} under {}", self.name, self.machine.accel);
        let result = stages.run(&title, || self.start_and_wait());
        if let Err(error) = result {
            self.kill()
                .with_context(|| format!("and QEMU is left over after: {error:#}"))?;
            return Err(error);
        }
        Ok(())
    }

    fn start_and_wait(&mut self) -> Result<()> {
        let console = self.console();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&console)
            .with_context(|| format!("cannot write {}", console.display()))?;
        let offset = log.metadata()?.len();
        let process = self.start(false)?;
        let end = match process.open()? {
            Some(pidfd) => {
                let (process, signals) = (pidfd.as_fd(), interrupt::held());
                console::wait_boot(&console, offset, process, signals, self.boot_limit)?
            }
            None => BootEnd::Exited,
        };
        let name = &self.name;
        let said = || fs::read_to_string(self.directory.join(MESSAGES)).unwrap_or_default();
        match end {
            BootEnd::Ready => Ok(()),
            BootEnd::Crashed(line) => Err(anyhow!("the kernel of host {name} died: {line}")),
            BootEnd::Exited => Err(anyhow!("QEMU of host {name} ended: {}", said().trim_end())),
            BootEnd::TimedOut => Err(anyhow!(
                "host {name} is not up after {} s; see {}",
                self.boot_limit.as_secs(),
                console.display()
            )),
            BootEnd::Interrupted => Err(anyhow!("interrupted; host {name} is down again")),
        }
    }

    fn start(&mut self, loaded: bool) -> Result<ProcessName> {
        let child = self
            .machine
            .spawn(&self.directory, loaded, self.die_with_us)
            .context("cannot start qemu-system-x86_64; `host deps` installs it")?;
        let process = ProcessName::of(child.id());
        self.child = Some(child);
        let process = process.context("QEMU ended at once")?;
        write_json(&self.directory.join("process.json"), &process)?;
        Ok(process)
    }
}

/// An empty directory for the instance, if no other one runs there.
fn vacate(directory: &Path, name: &InstanceName) -> Result<()> {
    if running(directory)?.is_some() {
        bail!("host {name} is already up; `host down --name {name}` ends it");
    }
    remove(directory)?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

fn copy_disk(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp")
        .args(["--sparse=auto", "--reflink=auto"])
        .args([from, to]))
    .context("cannot copy the host's disk")?;
    Ok(())
}

/// Makes the files of a fresh instance.
fn prepare(
    directory: &Path,
    artifacts: &Artifacts,
    accel: Accel,
    name: &InstanceName,
    options: &Options,
) -> Result<Machine> {
    let root = directory.join(DISK);
    copy_disk(&artifacts.disk, &root)?;
    let payload = directory.join(PAYLOAD);
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
        memory: if options.savable {
            Memory::Shared(directory.join(MEMORY))
        } else {
            Memory::Anonymous
        },
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
