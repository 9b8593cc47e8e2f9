//! `banger system install`: idempotent; a second run updates, and VMs keep running.
//!
//! ```text
//! owner -> preflight -> programs -> install.toml -> directories -> units -> start
//! ```

use std::path::{Path, PathBuf};

use banger_protocol::manifest::{Installed, Manifest};
use banger_protocol::{Ula, install};
use clap::Args;
use ipnet::Ipv4Net;

use super::layout::{
    self, LIB_DIR, MODULES, MODULES_LOAD, PROGRAMS, RULES, SERVICES, SOCKETS, UNIT_DIR,
};
use super::owner::Owner;
use super::place::{self, Placed};
use super::{manifest, metadata, preflight, program, require_root, units};
use crate::cli::output::{note, print};
use crate::cli::places::read_install;
use crate::cli::style::{BAD, GOOD};
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

        place::directory(Path::new(LIB_DIR), Some((0, 0)), 0o755)?;
        for (name, content) in &programs {
            let placed = place::file(&Path::new(LIB_DIR).join(name), content, 0o755)?;
            told(&format!("{LIB_DIR}/{name}"), placed);
        }
        told(manifest::PATH, write_manifest(&programs)?);
        let target = Path::new(LIB_DIR).join("banger");
        if !leads_to(Path::new(layout::LINK), Path::new(layout::PACKAGED)) {
            told(layout::LINK, place::link(Path::new(layout::LINK), &target)?);
        }

        let text = toml::to_string(&metadata).map_err(|error| {
            Failure::new(Exit::Internal, "the install metadata can't be written").because(&error)
        })?;
        let text = format!("# Written by `banger system install`.\n{text}");
        place::directory(Path::new("/etc/banger"), Some((0, 0)), 0o755)?;
        told(
            install::PATH,
            place::file(Path::new(install::PATH), text.as_bytes(), 0o644)?,
        );

        directories(&owner)?;
        let changed = units(&owner)?;
        start(changed)?;
        print(format_args!(
            "banger is installed for {}. Put documents into {}/.config/banger/vms, or use `banger apply`.",
            owner.name,
            owner.home.display()
        ))?;
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

/// After the programs, so that what it says was there.
fn write_manifest(programs: &[(&'static str, Vec<u8>)]) -> Result<Placed, Failure> {
    let installed = programs.iter().map(|(name, content)| {
        let version = match *name {
            "firecracker" | "jailer" => manifest::version_of(&Path::new(LIB_DIR).join(name)),
            _ => Some(env!("CARGO_PKG_VERSION").to_owned()),
        };
        let sha256 = manifest::sha256(content);
        ((*name).to_owned(), Installed { sha256, version })
    });
    let manifest = Manifest {
        programs: installed.collect(),
    };
    let text = toml::to_string(&manifest).map_err(|error| {
        Failure::new(Exit::Internal, "the manifest can't be written").because(&error)
    })?;
    let text = format!("# Written by `banger system install`.\n{text}");
    place::file(Path::new(manifest::PATH), text.as_bytes(), 0o644)
}

fn directories(owner: &Owner) -> Result<(), Failure> {
    place::directory(
        Path::new(layout::STATE_DIR),
        Some((owner.uid, owner.gid)),
        0o700,
    )?;
    place::directory(Path::new(layout::HELPER_DIR), Some((0, 0)), 0o700)?;
    place::directory(Path::new(layout::JAIL_DIR), Some((0, 0)), 0o700)?;
    let home = owner.home.display();
    let wanted = [
        ".config/banger/vms",
        ".config/banger/images",
        ".local/state/banger/ssh",
    ];
    let wanted = wanted.map(|directory| format!("{home}/{directory}"));
    let mut arguments = vec!["-p", "--"];
    arguments.extend(wanted.iter().map(String::as_str));
    program::run_as(owner, "mkdir", &arguments)?;
    program::run_as(owner, "chmod", &["700", "--", &wanted[2]])
}

/// Whether any unit changed.
fn units(owner: &Owner) -> Result<Placed, Failure> {
    let mut all = Placed::Unchanged;
    for (name, template) in units::UNITS {
        let path = Path::new(UNIT_DIR).join(name);
        let placed = place::file(&path, units::render(template, owner)?.as_bytes(), 0o644)?;
        told(&format!("{UNIT_DIR}/{name}"), placed);
        if placed == Placed::Changed {
            all = Placed::Changed;
        }
    }
    let rules = units::render(units::UDEV, owner)?;
    let placed = place::file(Path::new(RULES), rules.as_bytes(), 0o644)?;
    told(RULES, placed);
    if placed == Placed::Changed {
        program::try_run("udevadm", &["control", "--reload"]);
    }
    let modules = format!(
        "# banger's helper may not load modules itself.\n{}\n",
        MODULES.join("\n")
    );
    told(
        MODULES_LOAD,
        place::file(Path::new(MODULES_LOAD), modules.as_bytes(), 0o644)?,
    );
    Ok(all)
}

fn start(units: Placed) -> Result<(), Failure> {
    let systemctl = |words: &[&str], units: &[&str]| {
        program::run("systemctl", &[words, units].concat())
            .map_err(|failure| failure.help("`journalctl -u bangerd -u banger-helper` says why"))
    };
    systemctl(&["daemon-reload"], &[])?;
    systemctl(&["stop"], &SERVICES)?;
    systemctl(
        &["enable", "--quiet"],
        &[&SOCKETS[..], &["bangerd.service"]].concat(),
    )?;
    match units {
        Placed::Changed => systemctl(&["restart"], &SOCKETS)?,
        Placed::Unchanged => systemctl(&["start"], &SOCKETS)?,
    };
    systemctl(&["start", "bangerd.service"], &[])?;
    Ok(())
}

fn told(what: &str, placed: Placed) {
    if placed == Placed::Changed {
        note(format_args!("{GOOD}wrote{GOOD:#} {what}"));
    }
}
