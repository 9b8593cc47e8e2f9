//! `banger system install`: idempotent; a second run updates, and VMs keep running.
//!
//! ```text
//! owner -> metadata -> preflight -> programs (read) -> setup: all of it, or nothing
//! ```

use std::path::{Path, PathBuf};

use banger_protocol::{Ula, install};
use clap::Args;
use ipnet::Ipv4Net;

use super::changes::{Changes, Site as _};
use super::interrupts::Interrupts;
use super::layout::{self, LIB_DIR, PROGRAMS};
use super::owner::Owner;
use super::place::Placed;
use super::setup::{self, Plan};
use super::{metadata, preflight, require_root};
use crate::cli::output::{note, note_raw, print};
use crate::cli::places::read_install;
use crate::cli::style::BAD;
use crate::cli::{Exit, Failure};

/// `banger system install`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Install {
    /// The account that VMs belong to; default: who called sudo, or the owner that there is
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Firecracker's program; default: beside the others, the installed one, or from PATH
    #[arg(long, value_name = "PATH")]
    firecracker: Option<PathBuf>,
    /// Firecracker's jailer; found like Firecracker itself
    #[arg(long, value_name = "PATH")]
    jailer: Option<PathBuf>,
    /// Guests' addresses; default 172.30.0.0/16
    #[arg(long)]
    subnet: Option<Ipv4Net>,
    /// Guests' IPv6 addresses, a /64 within fc00::/7; default: one that follows from the other subnet
    #[arg(long, value_name = "SUBNET")]
    subnet6: Option<Ula>,
    /// Where banger's programs are; default: where this one is
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

impl Install {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        require_root("install")?;
        let before = read_install(Path::new(install::PATH));
        let owner = self.owner(before.as_ref().map(|install| install.owner.as_str()))?;
        let metadata = metadata::decide(&owner, self.subnet, self.subnet6, before)?;
        fit()?;
        let programs = self.programs()?;

        let text = toml::to_string(&metadata).map_err(|error| {
            Failure::new(Exit::Internal, "the install metadata can't be written").because(&error)
        })?;
        let plan = Plan {
            metadata: format!("# Written by `banger system install`.\n{text}"),
            programs,
            link: !leads_to(Path::new(layout::LINK), Path::new(layout::PACKAGED)),
            owner,
        };
        let mut changes = Changes::new("/").heeding(Interrupts::hold()?);
        let placed = setup::carry_out(&mut changes, &plan).inspect_err(|failure| {
            if changes.go_on().is_err() {
                note_raw(&failure.render());
            }
        })?;
        let (owner, home) = (&plan.owner.name, plan.owner.home.display());
        print(match placed {
            Placed::Changed => format!(
                "banger is installed for {owner}. Put documents into {home}/.config/banger/vms, \
                 or use `banger apply`."
            ),
            Placed::Unchanged => {
                format!("no change: banger is installed for {owner}, and its services run")
            }
        })?;
        Ok(Exit::Ok)
    }

    fn owner(&self, before: Option<&str>) -> Result<Owner, Failure> {
        let name = self
            .owner
            .clone()
            .or_else(|| before.map(str::to_owned))
            .or_else(Owner::caller)
            .ok_or_else(|| {
                Failure::invalid("whose VMs are these to be?")
                    .help("name the account: `banger system install --owner USER`")
            })?;
        Owner::named(&name)
    }

    /// The programs' contents, by name, read before anything is written.
    fn programs(&self) -> Result<Vec<(&'static str, Vec<u8>)>, Failure> {
        let from = match &self.from {
            Some(from) => from.clone(),
            None => own_directory()?,
        };
        let mut programs = Vec::new();
        for name in PROGRAMS {
            programs.push((name, read(name, &from.join(name))?));
        }
        for (name, chosen) in [("firecracker", &self.firecracker), ("jailer", &self.jailer)] {
            let path = match chosen {
                Some(path) => path.clone(),
                None => find(name, &from).ok_or_else(|| {
                    Failure::new(Exit::NotFound, format!("`{name}` isn't there")).help(format!(
                        "get it from Firecracker's releases and say where it is: `--{name} PATH`"
                    ))
                })?,
            };
            programs.push((name, read(name, &path)?));
        }
        Ok(programs)
    }
}

fn own_directory() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Internal, "this program doesn't know where it is").because(&error)
    })?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_owned())
}

fn find(name: &str, from: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    [from.to_owned(), PathBuf::from(LIB_DIR)]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let content = std::fs::read(path).map_err(|error| {
        Failure::new(
            Exit::NotFound,
            format!("`{name}` can't be read at {}", path.display()),
        )
        .because(&error)
        .help("`--from DIR` says where banger's programs are; `make build` makes them")
    })?;
    if content.starts_with(b"\x7fELF") {
        Ok(content)
    } else {
        Err(Failure::invalid(format!(
            "{} is not a program",
            path.display()
        )))
    }
}

/// Whether the shell finds the package's program: that link is dpkg's to change.
fn leads_to(link: &Path, program: &Path) -> bool {
    std::fs::canonicalize(link).is_ok_and(|found| found == program)
}

fn fit() -> Result<(), Failure> {
    let wrong = preflight::prepare_and_check();
    for check in &wrong {
        let (name, what) = (&check.name, &check.message);
        note(format_args!("{BAD}missing:{BAD:#} {name}: {what}"));
        if let Some(remedy) = &check.remedy {
            note(format_args!("  help: {remedy}"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(
        Failure::new(Exit::Conflict, "this host can't run banger yet")
            .help("nothing was installed; docs/host-requirements.md says more about each of these"),
    )
}
