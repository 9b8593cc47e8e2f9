//! `host`: the disposable test host's program. Arguments and wiring only.

use std::{
    io::IsTerminal as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use banger_e2e::{Artifacts, Cache, Instance, InstanceName, Interrupts, Options, Stages};
use clap::{Args, Parser, Subcommand};

/// A disposable Debian host for banger, inside QEMU.
#[derive(Parser)]
#[command(name = "host", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Args)]
struct Named {
    /// Which host; several run side by side
    #[arg(long, default_value = "default")]
    name: InstanceName,
}

#[derive(Args)]
struct AsUser {
    /// As root instead of owner
    #[arg(long, conflicts_with = "user")]
    root: bool,
    /// As this user (owner, stranger, root)
    #[arg(long, default_value = "owner")]
    user: String,
}

impl AsUser {
    fn name(&self) -> &str {
        if self.root { "root" } else { &self.user }
    }
}

#[derive(Subcommand)]
enum Action {
    /// Install the Debian packages that this program needs, where missing
    Deps,
    /// Build what isn't cached: disk, guest image, Firecracker
    Build,
    /// Boot a fresh host and wait until systemd is up
    Up {
        #[command(flatten)]
        named: Named,
        /// A directory that appears, read-only, at /payload in the host
        #[arg(long, value_name = "DIR")]
        payload: Option<PathBuf>,
        /// Let what was flushed survive a `reset`; slower
        #[arg(long)]
        durable: bool,
        /// Virtual CPUs
        #[arg(long, default_value_t = 2)]
        cpus: u8,
        /// Memory in MiB
        #[arg(long, default_value_t = 4096, value_name = "MIB")]
        memory: u32,
    },
    /// Run a command in the host; without one, a shell
    ///
    /// One word is a shell's line, several are a program and its arguments.
    Exec {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        user: AsUser,
        /// The command
        #[arg(trailing_var_arg = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Copy a file into the host
    Push {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        user: AsUser,
        /// The file here
        file: PathBuf,
        /// Its path, or a directory, in the host
        path: String,
    },
    /// Copy a file out of the host
    Pull {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        user: AsUser,
        /// Its path in the host
        path: String,
        /// The file here
        file: PathBuf,
    },
    /// Cut the power and boot the same disk again
    Reset {
        #[command(flatten)]
        named: Named,
    },
    /// End the host and remove its disk
    Down {
        #[command(flatten)]
        named: Named,
    },
    /// Print the path of the host's console log
    Console {
        #[command(flatten)]
        named: Named,
    },
    /// Print the paths of firecracker and jailer, fetching them first
    Firecracker,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("host: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(action: Action) -> Result<ExitCode> {
    let stages = Stages::default();
    let cache = Cache::open()?;
    match action {
        Action::Deps => {
            if banger_e2e::install_deps(stages)?.is_empty() {
                stages.note("nothing is missing");
            }
        }
        Action::Build => {
            // Or an interrupt would leave root's mmdebstrap behind, and the lock free.
            let _interrupts = Interrupts::hold()?;
            let built = Artifacts::build(&cache, stages)?;
            for path in [&built.disk, &built.kernel, &built.guest, &built.images] {
                println!("{}", path.display());
            }
        }
        Action::Firecracker => {
            let _interrupts = Interrupts::hold()?;
            let directory = banger_e2e::fetch_firecracker(&cache, stages)?;
            for name in ["firecracker", "jailer"] {
                println!("{}", directory.join(name).display());
            }
        }
        Action::Up {
            named,
            payload,
            durable,
            cpus,
            memory,
        } => {
            let options = Options {
                payload,
                durable,
                cpus,
                memory_mib: memory,
                outlives_us: true,
                ..Options::default()
            };
            up(&cache, &named.name, &options, stages)?;
        }
        Action::Exec {
            named,
            user,
            command,
        } => return exec(&Instance::find(&cache, &named.name)?, user.name(), &command),
        Action::Push {
            named,
            user,
            file,
            path,
        } => {
            let host = Instance::find(&cache, &named.name)?;
            host.ssh().push(user.name(), &file, &path)?;
        }
        Action::Pull {
            named,
            user,
            path,
            file,
        } => {
            let host = Instance::find(&cache, &named.name)?;
            host.ssh().pull(user.name(), &path, &file)?;
        }
        Action::Reset { named } => {
            let _interrupts = Interrupts::hold()?;
            let mut host = Instance::find(&cache, &named.name)?;
            host.reset(&cache, stages)?;
        }
        Action::Down { named } => {
            if !Instance::down(&cache, &named.name)? {
                stages.note(&format!("there is no host {}", named.name));
            }
        }
        Action::Console { named } => {
            let host = Instance::find(&cache, &named.name)?;
            println!("{}", host.console().display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(cache: &Cache, name: &InstanceName, options: &Options, stages: Stages) -> Result<()> {
    // From here on an interrupt must take what we started down with us: a build,
    // and later QEMU.
    let _interrupts = Interrupts::hold()?;
    let built = Artifacts::build(cache, stages)?;
    let choice = banger_e2e::choose(cache, &built.kernel, &built.initrd)?;
    stages.note(&format!("{}: {}", choice.accel, choice.reason));
    let host = Instance::up(cache, &built, choice.accel, name, options, stages)?;
    stages.note(&format!("console: {}", host.console().display()));
    Ok(())
}

fn exec(host: &Instance, user: &str, words: &[String]) -> Result<ExitCode> {
    anyhow::ensure!(
        host.is_running()?,
        "the host is not running; `host reset` boots it"
    );
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let script = banger_e2e::shell_line(words);
    let mut ssh: Command = host.ssh().command(user, script.as_deref(), terminal)?;
    let status = ssh.status().context("cannot run ssh")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(255)))
}
