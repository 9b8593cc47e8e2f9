//! `banger-helper`: takes the socket from systemd (or makes one for a test),
//! reads the install metadata, and serves.

use std::ffi::OsString;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use banger_helper::install_file::{self, Untrusted};
use banger_helper::op::vmm::entrance;
use banger_helper::{Host, server};
use clap::{Parser, Subcommand};
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The root helper of banger. systemd starts it with its socket.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Listen here instead of on the socket that systemd passes.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The install metadata.
    #[arg(long, value_name = "PATH", default_value = banger_protocol::install::PATH)]
    install: PathBuf,
}

/// What it does instead of serving.
#[derive(Debug, Subcommand)]
enum Command {
    /// What the unit of a VMM runs: puts its sockets into its jail and becomes the jailer
    #[command(name = entrance::COMMAND, hide = true)]
    EnterJail {
        /// The socket directory
        sockets: PathBuf,
        /// What the jailer makes the VMM's /
        root: PathBuf,
        /// The jailer with its arguments
        #[arg(last = true, required = true)]
        jailer: Vec<OsString>,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::EnterJail {
        sockets,
        root,
        jailer,
    }) = &arguments.command
    {
        return Err(entrance::enter(sockets, root, jailer)).context("can't enter the jail");
    }
    log_to_where_it_is_read();
    // Files that root makes are nobody else's until said otherwise.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // With the programs that it runs it stays below the unit's TasksMax=.
        .max_blocking_threads(48)
        .enable_all()
        .build()
        .context("can't start the runtime")?
        .block_on(run(arguments))
}

/// The journal where it collects our output anyway, standard error elsewhere.
fn log_to_where_it_is_read() {
    let filter = EnvFilter::try_from_env("BANGER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    // `OP=start-vmm`, as the daemon has it, not `F_OP=start-vmm`.
    let journal = journal.map(|journal| journal.with_field_prefix(None));
    match journal {
        Some(journal) => registry.with(journal).init(),
        None => {
            let stderr = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(false);
            registry.with(stderr).init();
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "banger-helper must be root: systemd starts it (`systemctl start banger-helper.socket`)"
        );
    }
    let install = install_file::load(&arguments.install)?;
    let host = Host::new(install);
    // Only a start of a VMM needs them, and it looks again.
    for program in [&host.install.firecracker, &host.install.jailer] {
        if let Err(Untrusted { path, why }) = install_file::trusted_program(program) {
            warn!("{}: {why}: no VM can be started", path.display());
        }
    }
    if let Err(failure) = host.programs_as_installed().await {
        warn!("{failure}: no VM can be started");
    }
    if let Err(failure) = banger_helper::op::vmm::close_sockets(&host) {
        warn!("{failure}: others may reach the sockets of VMs that run");
    }
    let listener = match &arguments.socket {
        Some(path) => bind(path, host.install.owner_uid)?,
        None => from_systemd()?,
    };
    let address = listener.local_addr().context("the socket")?;
    listener.set_nonblocking(true).context("the socket")?;
    let listener = UnixListener::from_std(listener).context("the socket")?;
    let mut stop = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    info!(
        owner = host.install.owner,
        uid = host.install.owner_uid,
        "serving"
    );
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let ordered = async {
        tokio::select! {
            _ = stop.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    };
    let watchdog = sd_notify::watchdog_enabled().zip(address.as_pathname());
    let watchdog = watchdog.map(|(limit, socket)| {
        let tell = || drop(sd_notify::notify(&[NotifyState::Watchdog]));
        tokio::spawn(server::feed(socket.to_owned(), limit, tell))
    });
    server::serve(Arc::new(host), listener, ordered).await;
    if let Some(watchdog) = watchdog {
        watchdog.abort();
    }
    Ok(())
}

fn from_systemd() -> anyhow::Result<StdListener> {
    let mut passed = sd_notify::listen_fds().context("LISTEN_FDS")?;
    match (passed.next(), passed.next()) {
        // SAFETY: systemd passed this descriptor to this process, and nobody
        // else has taken it.
        (Some(fd), None) => Ok(unsafe { StdListener::from_raw_fd(fd) }),
        (None, _) => bail!("no socket from systemd: start banger-helper.socket, or give --socket"),
        (Some(_), Some(_)) => bail!("more than one socket from systemd"),
    }
}

/// A socket of the owner's at a path of the caller's.
fn bind(path: &Path, owner: u32) -> anyhow::Result<StdListener> {
    let shown = path.display();
    let listener = StdListener::bind(path).with_context(|| format!("can't listen on {shown}"))?;
    std::os::unix::fs::chown(path, Some(owner), None)
        .with_context(|| format!("can't give {shown} to uid {owner}"))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jailers_own_arguments_stay_as_they_are() {
        let argv = "banger-helper enter-jail /run/s /jail/root -- /jailer --id x -- --api-sock /s";
        let arguments = Arguments::parse_from(argv.split(' '));
        let Some(Command::EnterJail { jailer, root, .. }) = arguments.command else {
            panic!("{arguments:?}");
        };
        assert_eq!(root, Path::new("/jail/root"));
        assert_eq!(jailer, ["/jailer", "--id", "x", "--", "--api-sock", "/s"]);
        let serving = Arguments::parse_from(["banger-helper", "--socket", "/s"]);
        assert!(serving.command.is_none() && serving.socket.is_some());
    }
}
