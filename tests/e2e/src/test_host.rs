//! The disposable host as tests use it: it dies with its handle, and with the
//! test's process however that ends.

use std::{
    cell::Cell,
    env,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    accel,
    artifacts::Artifacts,
    attempt::attempt,
    cache::Cache,
    console,
    instance::{Instance, InstanceName, Options},
    ssh::{Output, User},
    stages::Stages,
};

/// How long a command may take unless the test says otherwise.
const EXEC_LIMIT: Duration = Duration::from_secs(120);
/// Where this is set each command is shown with its time.
const TRACE: &str = "BANGER_E2E_TRACE";

/// A running host. Dropping it kills QEMU and removes the disk.
#[derive(Debug)]
pub struct TestHost {
    cache: Cache,
    name: InstanceName,
    instance: Instance,
    stages: Stages,
}

impl TestHost {
    /// Boots a fresh host with this directory's content at `/payload`, building
    /// first what isn't cached. Names of hosts that run at once must differ.
    ///
    /// # Errors
    /// It isn't up within 60 s, or a build step fails. Nothing is left running.
    pub fn up(name: &str, payload: Option<&Path>) -> Result<Self> {
        let options = Options {
            payload: payload.map(Path::to_path_buf),
            ..Options::default()
        };
        Self::up_with(name, options)
    }

    /// As `up`, with all options.
    ///
    /// # Errors
    /// As `up`.
    pub fn up_with(name: &str, options: Options) -> Result<Self> {
        let stages = Stages::default();
        let cache = Cache::open()?;
        let name = named(name)?;
        let artifacts = Artifacts::build(&cache, stages)?;
        let choice = accel::choose(&cache, &artifacts.kernel, &artifacts.initrd)?;
        let instance = Instance::up(&cache, &artifacts, choice.accel, &name, &options, stages)?;
        Ok(Self {
            cache,
            name,
            instance,
            stages,
        })
    }

    /// A host that goes on where the one in `entry` was saved.
    ///
    /// # Errors
    /// QEMU can't go on with it. Nothing is left running.
    pub(crate) fn resume(entry: &Path, name: &str, options: Options) -> Result<Self> {
        let cache = Cache::open()?;
        let name = named(name)?;
        let instance = Instance::resume(&cache, entry, &name, &options)?;
        Ok(Self {
            cache,
            name,
            instance,
            stages: Stages::default(),
        })
    }

    /// Leaves the whole host in `entry`, from where it can go on.
    ///
    /// # Errors
    /// QEMU can't write its state, or a file can't be moved.
    pub(crate) fn save(mut self, entry: &Path) -> Result<()> {
        self.instance.save(&self.cache, entry)
    }

    /// Runs a shell command as that user, at most two minutes. A status other
    /// than 0 is an answer, not an error; see [`Output::ok`].
    ///
    /// # Errors
    /// The host is gone, or the time is up.
    pub fn exec(&self, user: User, script: &str) -> Result<Output> {
        self.exec_within(user, script, EXEC_LIMIT)
    }

    /// As `exec`, with another limit.
    ///
    /// # Errors
    /// As `exec`.
    pub fn exec_within(&self, user: User, script: &str, limit: Duration) -> Result<Output> {
        let start = Instant::now();
        let result = self.instance.ssh().exec(user.name(), script, limit);
        if env::var_os(TRACE).is_some() {
            let seconds = start.elapsed().as_secs_f64();
            eprintln!("{} {seconds:6.2} s {}: {script}", self.name, user.name());
        }
        let lost = match &result {
            Ok(output) => output.status == 255,
            Err(_) => true,
        };
        if lost && let Some(line) = self.crashed() {
            bail!("the host's kernel died: {line}");
        }
        result
    }

    /// Copies a local file into the host, with its mode, as that user.
    ///
    /// # Errors
    /// It can't be read or written.
    pub fn push(&self, user: User, file: &Path, target: &str) -> Result<()> {
        self.instance.ssh().push(user.name(), file, target)
    }

    /// Copies a file out of the host, as that user.
    ///
    /// # Errors
    /// It can't be read or written.
    pub fn pull(&self, user: User, source: &str, file: &Path) -> Result<()> {
        self.instance.ssh().pull(user.name(), source, file)
    }

    /// Lets it go on running, where its options say that it outlives us: `host
    /// exec` and `host down` find it by its name.
    pub fn leave(self) {
        let _left = ManuallyDrop::new(self);
    }

    /// The power cut. What was flushed survives on a durable disk.
    ///
    /// # Errors
    /// The host isn't up again within 60 s.
    pub fn reset(&mut self) -> Result<()> {
        self.instance.reset(&self.cache, self.stages)
    }

    /// The orderly reboot: everything in the host is stopped, and asked to be, by its
    /// own systemd; then the same disk is booted.
    ///
    /// # Errors
    /// The host isn't down within five minutes, or not up again within 60 s.
    pub fn reboot(&mut self) -> Result<()> {
        self.instance.reboot(&self.cache, self.stages)
    }

    /// The console line that tells of the death of the host's own kernel, if it
    /// has died (software SVM does that, rarely). QEMU's end without such a
    /// line counts as well.
    #[must_use]
    pub fn crashed(&self) -> Option<String> {
        let text = self.console();
        if let Some(line) = console::death_in(&text) {
            return Some(line.to_owned());
        }
        match self.instance.is_running() {
            Ok(true) => None,
            Ok(false) => Some("QEMU ended".to_owned()),
            Err(error) => Some(format!("{error:#}")),
        }
    }

    /// Where it was built, and where its deaths are counted.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// QEMU's pid, while it runs.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn process_id(&self) -> Result<Option<i32>> {
        self.instance.process_id()
    }

    /// All that the serial console has printed.
    #[must_use]
    pub fn console(&self) -> String {
        console::read_from(&self.instance.console(), 0).unwrap_or_default()
    }
}

fn named(name: &str) -> Result<InstanceName> {
    name.parse()
        .map_err(|rule| anyhow::anyhow!("{name:?} is no name of a host: {rule}"))
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = self.console();
            let lines: Vec<_> = console.lines().collect();
            let tail = lines[lines.len().saturating_sub(30)..].join("\n");
            eprintln!("--- host {}'s console ends with\n{tail}\n---", self.name);
        }
        let killed = self.instance.kill();
        let removed = Instance::down(&self.cache, &self.name);
        if let Err(error) = killed.and(removed.map(|_| ())) {
            eprintln!("host {}: {error:#}", self.name);
        }
    }
}

/// Runs a scenario on a fresh host, and again on another where [`attempt`] does. A
/// failure on a living host is final.
///
/// # Errors
/// Those of the scenario, or of the host's start. A panic goes on.
pub fn scenario(
    name: &str,
    options: &Options,
    steps: impl Fn(&mut TestHost) -> Result<()>,
) -> Result<()> {
    let panicked = Cell::new(None);
    let fresh = || TestHost::up_with(name, options.clone());
    let test = |host: &mut TestHost| {
        panicked.take();
        catch_unwind(AssertUnwindSafe(|| steps(host))).unwrap_or_else(|panic| {
            panicked.set(Some(panic));
            bail!("the scenario panicked")
        })
    };
    // The host outlives what goes on: its console is shown then.
    let (result, _host) = attempt(name, None, &fresh, &test)?;
    match panicked.take() {
        Some(panic) => resume_unwind(panic),
        None => result,
    }
}
