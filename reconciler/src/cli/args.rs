//! The arguments. One variant per command; the commands' own arguments stand
//! with the commands.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::command::{
    apply, completion, config, db, delete, describe, diff, events, gc, get, logs, rename, schema,
    trash, undelete, validate, version, vm, wait,
};
use super::doctor::Doctor;
use super::{Exit, system};

/// YAML files become Firecracker microVMs, and stay so
///
/// Write a document into ~/.config/banger/vms, or hand it to `banger apply -f`.
#[derive(Debug, Parser)]
#[command(
    name = "banger",
    version,
    max_term_width = 100,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = Exit::HELP
)]
pub struct Cli {
    /// The daemon's socket
    #[arg(
        long,
        global = true,
        env = "BANGER_SOCKET",
        hide_env_values = true,
        value_name = "PATH",
        default_value = banger_protocol::install::DAEMON_SOCKET
    )]
    pub(super) socket: PathBuf,

    /// Show more: with `diff` and `apply` the specs' unified diff
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take documents over, and wait until they are so
    Apply(apply::Apply),
    /// Show what would happen, and change nothing
    Diff(diff::Diff),
    /// Check documents; needs no daemon
    Validate(validate::Validate),
    /// List objects
    Get(get::Get),
    /// Show all that is known of an object
    Describe(describe::Describe),
    /// Delete objects and the documents that declare them
    Delete(delete::Delete),
    /// Give a VM another name; it stays the same VM
    Rename(rename::Rename),
    /// Take a deleted VM back from the trash, with its document
    Undelete(undelete::Undelete),
    /// Look into the trash, and empty it
    #[command(subcommand)]
    Trash(trash::Trash),
    /// Wait for a condition
    Wait(wait::Wait),
    /// Show what happened
    Events(events::Events),
    /// Print a VM's serial console
    Logs(logs::Logs),
    /// Log in to VMs, start and stop them
    #[command(subcommand)]
    Vm(vm::Vm),
    /// Print a JSON Schema
    Schema(schema::Schema),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Config),
    /// Copy, check and restore the daemon's database
    #[command(subcommand)]
    Db(db::Db),
    /// Check this host and this installation: what is wrong, and the remedy
    Doctor(Doctor),
    /// Remove what no document and no database knows, and images that nothing needs
    Gc(gc::Gc),
    /// Install banger on this host, look after it
    #[command(subcommand)]
    System(system::System),
    /// Print the versions of client, daemon and helper
    Version(version::Version),
    /// Print a shell's completion script
    Completion(completion::Completion),
}
