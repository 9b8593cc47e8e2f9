//! `bangerd`, the daemon. Arguments and wiring only.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use banger::act::files::private_directory;
use banger::act::{RealHost, RealHostOptions};
use banger::config::{self, ConfigError};
use banger::controller::{BootClock, Controller, Ended, Published, Settings, Site};
use banger::guest::known_hosts;
use banger::net::dns;
use banger::sandbox::{self, Landlock};
use banger::server::{Identity, Socket, serve};
use banger::store::Store;
use banger::systemd;
use banger_core::config::Config;
use banger_core::seam::Host;
use banger_core::status::Paths;
use banger_protocol::{Install, Ula, install};
use banger_testkit::FakeHost;
use clap::Parser;
use ipnet::Ipv4Net;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Asked of systemd again and again while guests shut down with the host.
const MORE_TIME: Duration = Duration::from_secs(30);
/// The owner's key for `banger vm ssh` and guests' host keys, below the home.
const OWNERS_STATE: &str = ".local/state/banger";
/// Slots of the simulated host.
const SIMULATED_SLOTS: u16 = 16_000;

/// Turns a directory of specs into running microVMs, and keeps it so.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Disks, images and the database [default: as installed]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// `config.toml`, and by default `vms` and `images` [default: ~/.config/banger]
    #[arg(long, value_name = "DIR", env = "BANGER_CONFIG_DIR")]
    config_dir: Option<PathBuf>,
    /// Listen here [default: the socket that systemd passes]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// What `banger system install` decided
    #[arg(long, value_name = "FILE", default_value = install::PATH)]
    install: PathBuf,
    /// Work on a simulated host in memory: nothing real is made or touched
    #[arg(long)]
    sim: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_where_it_is_read();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The journal where it collects our output anyway, standard error elsewhere.
fn log_to_where_it_is_read() {
    let filter = EnvFilter::try_from_env("BANGER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    // `VM=web`, not `F_VM=web`: `journalctl VM=web` is what people type.
    let journal = journal.map(|journal| journal.with_field_prefix(None));
    match journal {
        Some(journal) => registry.with(journal).init(),
        None => {
            let stderr = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal());
            registry.with(stderr).init();
        }
    }
}

/// The threads of the runtime take the sandbox over from this one.
fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settled = Settled::of(arguments)?;
    let landlock = settled.rules().enforce();
    landlock.log();
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't start")?;
    let ended = runtime.block_on(start(settled, landlock));
    // A disk that doesn't answer keeps a thread, and would keep all of it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// What arguments, configuration and installation come to.
struct Settled {
    config: Config,
    home: PathBuf,
    /// Absolute, and there.
    state_dir: PathBuf,
    /// Absolute; none where systemd passes it.
    socket: Option<PathBuf>,
    /// None on a simulated host.
    installed: Option<Install>,
}

impl Settled {
    fn of(arguments: Arguments) -> anyhow::Result<Self> {
        let home = home()?;
        let config_dir = match &arguments.config_dir {
            Some(directory) => std::path::absolute(directory)?,
            None => home.join(".config/banger"),
        };
        let config = read_config(&config_dir, &home)?;
        let installed = match arguments.sim {
            true => None,
            false => Some(read_install(&arguments.install)?),
        };
        if let (Some(wanted), Some(installed)) = (config.network.subnet, &installed)
            && wanted != installed.subnet
        {
            bail!(
                "network.subnet is {wanted}, but banger was installed with {}: another part of it \
                 is not supported yet. Take the line out of config.toml, or run `banger system \
                 install` with that subnet",
                installed.subnet
            );
        }
        let state_dir = match (arguments.state_dir, &installed) {
            (Some(directory), _) => std::path::absolute(directory)?,
            (None, Some(installed)) => installed.state_dir.clone(),
            (None, None) => home.join(".local/state/banger/sim"),
        };
        private_directory(&state_dir)
            .with_context(|| format!("can't make the state directory {}", state_dir.display()))?;
        let socket = arguments.socket.map(std::path::absolute).transpose()?;
        Ok(Self {
            config,
            home,
            state_dir,
            socket,
            installed,
        })
    }

    /// What the daemon writes, here and with these settings.
    fn rules(&self) -> sandbox::Rules {
        let mut rules = sandbox::Rules {
            writable: vec![self.state_dir.clone()],
            sockets: Vec::new(),
        };
        if self.installed.is_some() {
            let own = self.home.join(OWNERS_STATE);
            // A rule is for what is there. Where the unit made the home read-only
            // the first VM says what is missing.
            let _ = private_directory(&own);
            rules.writable.extend([own, install::RUNTIME_DIR.into()]);
        }
        let beside = self.socket.as_deref().and_then(Path::parent);
        rules.sockets.extend(beside.map(Path::to_owned));
        rules
    }
}

async fn start(settled: Settled, landlock: Landlock) -> anyhow::Result<()> {
    let Settled {
        config,
        home,
        state_dir,
        socket,
        installed,
    } = settled;
    let Some(installed) = installed else {
        let default: Ipv4Net = "172.30.0.0/16".parse().context("the default subnet")?;
        let subnet = config.network.subnet.unwrap_or(default);
        let host = Arc::new(FakeHost::new());
        let identity = Identity {
            simulated: true,
            helper: Arc::new(|| Box::pin(async { Ok("none: the host is simulated".into()) })),
            landlock,
        };
        let ula = config.network.ula(Ula::beside(subnet)).unwrap_or_default();
        let daemon = Daemon {
            site: Site {
                paths: paths(state_dir, &home),
                home,
                subnet,
                slots: SIMULATED_SLOTS,
                ipv6: ula.is_some(),
            },
            names: None,
            config,
            socket,
            identity,
        };
        return daemon.run(host).await;
    };
    let ula = config.network.ula(installed.ula()).map_err(|wanted| {
        anyhow!(
            "network.ipv6 is {wanted}, but banger was installed with {}. Take the line out of \
             config.toml, or write \"off\"",
            installed.ula()
        )
    })?;
    let site = Site {
        home: home.clone(),
        paths: paths(state_dir.clone(), &home),
        subnet: installed.subnet,
        slots: installed.slots,
        ipv6: ula.is_some(),
    };
    let mut options = RealHostOptions::installed(installed.clone(), home);
    options.state_dir = state_dir;
    options.disk = config.disk.limits();
    options.dns = config.dns.enabled;
    options.ula = ula;
    options.allow_ssh = config.file_sync.allow_ssh;
    let host = Arc::new(RealHost::new(options));
    let asked = Arc::clone(&host);
    let helper = move || -> futures::future::BoxFuture<'static, Result<String, String>> {
        let host = Arc::clone(&asked);
        Box::pin(async move {
            let hello = host.helper().hello().await;
            hello
                .map(|helper| format!("{}.{}", helper.major, helper.minor))
                .map_err(|error| error.chain())
        })
    };
    let identity = Identity {
        simulated: false,
        helper: Arc::new(helper),
        landlock,
    };
    let wanted = config.dns.clone();
    let names = move |published| {
        dns::Service::new(
            &wanted,
            &installed,
            ula,
            install::HELPER_SOCKET.into(),
            published,
        )
    };
    let daemon = Daemon {
        site,
        names: Some(Box::new(names)),
        config,
        socket,
        identity,
    };
    daemon.run(host).await
}

/// Makes the DNS server that follows what is published.
type Names = Box<dyn FnOnce(watch::Receiver<Arc<Published>>) -> dns::Service>;

/// Everything but the host.
struct Daemon {
    site: Site,
    /// None on a simulated host.
    names: Option<Names>,
    config: Config,
    socket: Option<PathBuf>,
    identity: Identity,
}

impl Daemon {
    async fn run<H: Host>(self, host: Arc<H>) -> anyhow::Result<()> {
        let real = !self.identity.simulated;
        // The lock comes before the socket: whoever holds it owns both.
        let (store, loaded) = Store::open(&self.site.paths.state_dir)?;
        let socket = match &self.socket {
            Some(path) => Socket::bind(path)?,
            None => Socket::passed()?.context(
                "nothing to listen on: start `bangerd.socket` with systemctl, or give --socket",
            )?,
        };
        let settings = Settings::of(&self.config, self.site);
        let (controller, handle) =
            Controller::new(host, store, loaded, settings, BootClock::system());
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(
            socket,
            handle.clone(),
            self.identity,
            stop.child_token(),
        ));
        let names = self.names.map(|names| {
            let service = names(handle.published());
            tokio::spawn(service.run(stop.child_token()))
        });
        let mut running = tokio::spawn(controller.run(stop.child_token()));
        tell(&[NotifyState::Ready]);
        let watchdog = sd_notify::watchdog_enabled().map(|limit| {
            let heartbeat = handle.heartbeat();
            tokio::spawn(heartbeat.feed(limit, || tell(&[NotifyState::Watchdog])))
        });
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            ended = &mut running => {
                ended.context("the loop ended by a fault of its own")?;
                bail!("the loop ended though nobody asked it to");
            }
        }
        tracing::info!("stopping");
        tell(&[NotifyState::Stopping]);
        stop.cancel();
        if let Some(watchdog) = watchdog {
            // From here on systemd goes by TimeoutStopSec=.
            watchdog.abort();
        }
        let ended = running
            .await
            .context("the loop ended by a fault of its own")?;
        if real {
            farewell(&ended).await;
        }
        if let Some(names) = names {
            names
                .await
                .context("the DNS server ended by a fault of its own")?;
        }
        server
            .await
            .context("the server ended by a fault of its own")
    }
}

/// VMs go on running, unless the host goes down: systemd keeps their VMMs until
/// this daemon has ended, and so long their guests may take to shut down.
async fn farewell<H: Host>(ended: &Ended<H>) {
    match systemd::host_goes_down().await {
        Ok(true) => {}
        Ok(false) => return tracing::info!("VMs go on running"),
        Err(error) => {
            return tracing::warn!("VMs go on running; if the host goes down: {error}");
        }
    }
    let mut more_time = tokio::time::interval(MORE_TIME / 3);
    let guests = ended.shut_guests_down();
    tokio::pin!(guests);
    loop {
        tokio::select! {
            () = &mut guests => return,
            _ = more_time.tick() => tell(&[NotifyState::ExtendTimeoutUsec(
                MORE_TIME.as_micros().try_into().unwrap_or(u32::MAX),
            )]),
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("systemd could not be told: {error}");
    }
}

fn paths(state_dir: PathBuf, home: &Path) -> Paths {
    Paths {
        state_dir,
        known_hosts: home.join(known_hosts::DIRECTORY),
    }
}

fn home() -> anyhow::Result<PathBuf> {
    let from_env = std::env::var_os("HOME").map(PathBuf::from);
    if let Some(home) = from_env.filter(|home| home.is_absolute()) {
        return Ok(home);
    }
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .map(|user| user.dir)
        .context("the home directory isn't known: set HOME to an absolute path")
}

fn read_config(config_dir: &Path, home: &Path) -> anyhow::Result<Config> {
    let file = config_dir.join("config.toml");
    config::load_file(&file, home).map_err(|error| {
        let mut lines = vec![error.to_string()];
        if let ConfigError::Invalid { problems, .. } = &error {
            lines.extend(problems.iter().map(|problem| {
                let (line, column) = problem.at.unwrap_or_default();
                let remedy = problem.remedy.as_deref().unwrap_or_default();
                format!("{line}:{column}: {} ({remedy})", problem.message)
            }));
        }
        anyhow::Error::new(error).context(lines.join("\n"))
    })
}

fn read_install(path: &Path) -> anyhow::Result<Install> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "can't read {}: run `sudo banger system install` first, or try --sim",
            path.display()
        )
    })?;
    toml::from_str(&text).with_context(|| {
        format!(
            "{} is not what this version of banger writes: run `sudo banger system install` again",
            path.display()
        )
    })
}
