//! `hostile`: what a Firecracker that its guest took over may try. It has the
//! account of a VMM, no capability, and that VMM's jail. It may do more than a real
//! one: neither Firecracker's seccomp filters nor the VMM's mount namespace hold it.
//!
//! - `reach`: another VM, the state of banger, the host. Each attempt is made on
//!   what is its own as well, where it must succeed; and as root, who must succeed
//!   throughout, so that a refusal is of the account and of nothing else.
//! - `within`: the same from inside the VMM's mount namespace.
//! - `wreck`: everything that it may write becomes what could lead root astray.
//!
//! The scenario runs it by setpriv(1) as the VMM. Under the name of another program,
//! as which it lies around in the wreck, it leaves a mark of who ran it.

mod reach;
mod within;
mod wreck;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use banger_protocol::VmUid;
use clap::{Args, Parser};

/// Where the mark is left: every sandbox of systemd's leaves it writable.
const MARK: &str = "/dev/shm/banger-hostile";
const NAME: &str = "hostile";

/// Does what a VMM in hostile hands may do.
#[derive(Parser)]
enum Command {
    /// Tries to reach another VM and the host
    Reach(Reach),
    /// The same from inside the VMM's mount namespace; starts as root
    Within {
        /// The VMM's pid
        #[arg(long)]
        pid: u32,
    },
    /// Replaces all that the VMM may write
    Wreck {
        /// The VMM's pid
        #[arg(long)]
        pid: u32,
        /// A directory of root's, for links to it and to what it holds
        #[arg(long)]
        decoys: String,
    },
}

/// The VMM that it is, and another one.
#[derive(Args)]
struct Reach {
    /// Its own pid
    #[arg(long)]
    pid: u32,
    /// Its own tap
    #[arg(long)]
    tap: String,
    /// The other VM
    #[arg(long)]
    victim: VmUid,
    /// Its VMM's pid
    #[arg(long)]
    victim_pid: u32,
    /// Its tap
    #[arg(long)]
    victim_tap: String,
    /// Its loop devices
    #[arg(long)]
    victim_loop: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let called = std::env::args_os().next().unwrap_or_default();
    let called = Path::new(&called).file_name().unwrap_or_default();
    if called != OsStr::new(NAME) {
        let who = rustix::process::geteuid().as_raw();
        fs::write(MARK, format!("uid {who} ran {}\n", called.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let results = match Command::parse() {
        Command::Reach(reach) => reach::run(&reach)?,
        Command::Within { pid } => within::run(pid)?,
        Command::Wreck { pid, decoys } => {
            wreck::run(pid, &decoys)?;
            vec![("everything is replaced".to_owned(), Ok(()))]
        }
    };
    let mut failed = 0;
    for (what, result) in &results {
        match result {
            Ok(()) => println!("PASS {what}"),
            Err(error) => {
                failed += 1;
                println!("FAIL {what}: {error:#}");
            }
        }
    }
    println!("{} passed, {failed} failed", results.len() - failed);
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What was tried, and whether it went as it must.
type Outcome = (String, Result<()>);

/// The jail, as its VMM sees it.
fn jail_of(pid: u32) -> String {
    format!("/proc/{pid}/root")
}

/// A line of `/proc/<pid>/status` (proc(5)).
fn status(pid: &str, field: &str) -> Result<String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("{path} has no {field}"))?;
    Ok(line.trim().to_owned())
}

/// That it is the VMM's account, and no more than that.
fn is_only(account: &str) -> Result<()> {
    for field in ["Uid:", "Gid:"] {
        let all = status("self", field)?;
        ensure!(
            all.split_whitespace().all(|id| id == account),
            "{field} {all}, and not {account}"
        );
    }
    let groups = status("self", "Groups:")?;
    ensure!(groups.is_empty(), "it has groups: {groups}");
    for field in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        let set = status("self", field)?;
        ensure!(set.bytes().all(|b| b == b'0'), "{field} {set}");
    }
    ensure!(status("self", "NoNewPrivs:")? == "1", "it may gain more");
    Ok(())
}
