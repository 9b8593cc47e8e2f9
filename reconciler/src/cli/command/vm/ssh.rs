//! `banger vm ssh NAME [-- CMD…]`: OpenSSH with the owner's banger key and the
//! host keys that the guest reported over vsock. Nothing is trusted on first use,
//! and the person's own ssh configuration plays no part.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use banger_core::api::status::{Object, Phase, VmRuntime};
use banger_core::api::{Kind, Name};
use clap::Args;

use crate::cli::context::Context;
use crate::cli::object_ref::ObjectRef;
use crate::cli::quote::command_line;
use crate::cli::settle::Goal;
use crate::cli::waiting::{duration, wait_for};
use crate::cli::{Exit, Failure};

/// `banger vm ssh NAME [-- CMD…]`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Ssh {
    /// The VM
    name: Name,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// How long the VM may take to become Ready
    #[arg(long, default_value = "2m", value_parser = duration)]
    timeout: Duration,
    /// A command: one word is a shell's line, several are a program and its arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Ssh {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let object = self.ready(context)?;
        let name = &self.name;
        let runtime = object.status.runtime.as_ref().ok_or_else(|| {
            Failure::new(
                Exit::Internal,
                format!("vm/{name} is Ready, but has no address"),
            )
        })?;
        let key = context.places()?.ssh_key();
        if !key.exists() {
            return Err(Failure::new(
                Exit::Conflict,
                format!(
                    "vm/{name}: the key for guests {} isn't there",
                    key.display()
                ),
            )
            .help("`bangerd` makes it when it starts; run this as the account that owns banger"));
        }
        if !runtime.known_hosts.exists() {
            return Err(Failure::new(
                Exit::Conflict,
                format!("vm/{name} has not reported its SSH host keys"),
            )
            .cause(format!("{} isn't there", runtime.known_hosts.display()))
            .help("the image needs an SSH server; `banger logs` shows how the guest booted"));
        }
        let error = self.ssh(&object, runtime, &key).exec();
        let failure = Failure::new(Exit::Internal, "ssh can't be run").because(&error);
        Err(match error.kind() {
            std::io::ErrorKind::NotFound => {
                failure.help("install it: `apt install openssh-client`")
            }
            _ => failure,
        })
    }

    /// The VM, once it is Ready. One that is off stays off, and that is said at once.
    fn ready(&self, context: &Context) -> Result<Object, Failure> {
        let name = &self.name;
        let object = context.daemon.one(Kind::VirtualMachine, name)?;
        match object.status.phase {
            Phase::Ready => return Ok(object),
            Phase::Stopped => {
                return Err(
                    Failure::new(Exit::Conflict, format!("vm/{name} is stopped"))
                        .help(format!("start it with `banger vm start {name}`")),
                );
            }
            _ => {}
        }
        let goal = Goal::Running { other_than: None };
        let reference = ObjectRef::new(Kind::VirtualMachine, name.clone());
        wait_for(context, vec![(reference, goal)], self.timeout)?;
        Ok(context.daemon.one(Kind::VirtualMachine, name)?)
    }

    fn ssh(&self, object: &Object, runtime: &VmRuntime, key: &Path) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-i"]).arg(key);
        let mut option = |key: &str, value: &str| {
            ssh.arg("-o").arg(format!("{key}={value}"));
        };
        option("IdentitiesOnly", "yes");
        option("PreferredAuthentications", "publickey");
        option("StrictHostKeyChecking", "yes");
        option("GlobalKnownHostsFile", "none");
        option("UserKnownHostsFile", &config_value(&runtime.known_hosts));
        option("HostKeyAlias", &format!("banger-{}", object.metadata.uid));
        option("UpdateHostKeys", "no");
        option("ConnectTimeout", "15");
        option("ServerAliveInterval", "30");
        option("LogLevel", "ERROR");
        if self.tty {
            ssh.arg("-t");
        }
        ssh.arg(format!("root@{}", runtime.guest_ip));
        if !self.command.is_empty() {
            ssh.arg("--").arg(command_line(&self.command));
        }
        ssh
    }
}

/// A path as ssh_config(5) takes it: quoted, with `%` doubled.
fn config_value(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}
