//! An installation, once everything is decided: all of it, or nothing.
//!
//! ```text
//! mark -> programs -> manifest -> install.toml -> directories -> units -> services -> keep
//!   any of them fails, or is interrupted: services stop, files and directories go back, what ran starts
//! ```

use std::path::Path;

use banger_protocol::install;
use banger_protocol::manifest::{Installed, Manifest};

use super::changes::Site;
use super::daemons::{self, Daemons};
use super::layout::{self, LIB_DIR, MODULES, MODULES_LOAD, RULES, UNIT_DIR};
use super::owner::Owner;
use super::place::Placed;
use super::{manifest, units};
use crate::cli::output::note;
use crate::cli::style::GOOD;
use crate::cli::{Exit, Failure};

/// Stands there for as long as an installation is under way: one that was
/// killed has left files that the services don't run yet.
const MARK: &str = "/usr/lib/banger/.installing";

/// What is to be there, read and decided before anything is written.
pub(super) struct Plan {
    pub(super) owner: Owner,
    /// The text of install.toml.
    pub(super) metadata: String,
    /// Contents by name.
    pub(super) programs: Vec<(&'static str, Vec<u8>)>,
    /// Whether the shell is to find our copy; else it finds the package's.
    pub(super) link: bool,
}

/// Carries it out. `Unchanged`: it was so, and no service was restarted.
///
/// # Errors
/// Where a step fails; then everything is as before, or the failure says what isn't.
pub(super) fn carry_out(site: &mut impl Site, plan: &Plan) -> Result<Placed, Failure> {
    let before = Daemons::before(site);
    let mut restarted = false;
    match attempt(site, plan, &mut restarted) {
        Ok(placed) => {
            site.keep();
            // One that stays costs a restart with the next installation.
            let _ = site.remove(Path::new(MARK));
            Ok(placed)
        }
        Err(failure) => {
            let left = match restarted {
                true => before.put_back(site, files_back),
                false => files_back(site),
            };
            Err(taken_back(failure, &left))
        }
    }
}

fn files_back(site: &mut impl Site) -> Vec<Failure> {
    let failures = site.take_back();
    // It keeps the rules that it has read.
    let _ = site.run("udevadm", &["control", "--reload"]);
    failures
}

fn taken_back(failure: Failure, left: &[Failure]) -> Failure {
    if left.is_empty() {
        let message = format!("{}; everything is as it was before", failure.message);
        return Failure { message, ..failure };
    }
    let mut failure = Failure {
        message: format!(
            "{}, and not everything could be put back as it was",
            failure.message
        ),
        ..failure
    };
    for one in left {
        let causes = one.causes.iter().map(|cause| format!(": {cause}"));
        failure = failure.cause(format!("{}{}", one.message, causes.collect::<String>()));
    }
    failure.help("when that is mended, run `sudo banger system install` again")
}

fn attempt(site: &mut impl Site, plan: &Plan, restarted: &mut bool) -> Result<Placed, Failure> {
    let owner = &plan.owner;
    let interrupted = site.exists(Path::new(MARK));
    site.directory(Path::new(LIB_DIR), Some((0, 0)), 0o755)?;
    site.file(Path::new(MARK), b"", 0o600)?;
    let mut all = Placed::Unchanged;
    for (name, content) in &plan.programs {
        site.go_on()?;
        all |= file(site, &format!("{LIB_DIR}/{name}"), content, 0o755)?;
    }
    let text = manifest(site, &plan.programs)?;
    all |= file(site, manifest::PATH, text.as_bytes(), 0o644)?;
    if plan.link {
        let target = Path::new(LIB_DIR).join("banger");
        let placed = site.link(Path::new(layout::LINK), &target)?;
        told(layout::LINK, placed);
        all |= placed;
    }
    if let Some(directory) = Path::new(install::PATH).parent() {
        site.directory(directory, Some((0, 0)), 0o755)?;
    }
    all |= file(site, install::PATH, plan.metadata.as_bytes(), 0o644)?;
    directories(site, owner)?;
    let (units, others) = configuration(site, owner)?;
    all |= units | others;
    // From here on it would take as long to go back as to go on.
    site.go_on()?;
    if all == Placed::Changed || interrupted {
        *restarted = true;
        daemons::anew(site, if interrupted { Placed::Changed } else { units })?;
    } else {
        daemons::up(site)?;
    }
    Ok(all)
}

fn file(site: &mut impl Site, path: &str, content: &[u8], mode: u32) -> Result<Placed, Failure> {
    let placed = site.file(Path::new(path), content, mode)?;
    told(path, placed);
    Ok(placed)
}

/// After the programs, so that what it says was there.
fn manifest(site: &mut impl Site, programs: &[(&'static str, Vec<u8>)]) -> Result<String, Failure> {
    let mut manifest = Manifest::default();
    for (name, content) in programs {
        let version = match *name {
            "firecracker" | "jailer" => site
                .run(&format!("{LIB_DIR}/{name}"), &["--version"])
                .ok()
                .and_then(|text| manifest::parse_version(&text)),
            _ => Some(env!("CARGO_PKG_VERSION").to_owned()),
        };
        let sha256 = manifest::sha256(content);
        let installed = Installed { sha256, version };
        manifest.programs.insert((*name).to_owned(), installed);
    }
    let text = toml::to_string(&manifest).map_err(|error| {
        Failure::new(Exit::Internal, "the manifest can't be written").because(&error)
    })?;
    Ok(format!("# Written by `banger system install`.\n{text}"))
}

fn directories(site: &mut impl Site, owner: &Owner) -> Result<(), Failure> {
    let state = Path::new(layout::STATE_DIR);
    site.directory(state, Some((owner.uid, owner.gid)), 0o700)?;
    site.directory(Path::new(layout::HELPER_DIR), Some((0, 0)), 0o700)?;
    site.directory(Path::new(layout::JAIL_DIR), Some((0, 0)), 0o700)?;
    for (directory, private) in [
        (".config", false),
        (".config/banger", false),
        (".config/banger/vms", false),
        (".config/banger/images", false),
        (".local", false),
        (".local/state", false),
        (".local/state/banger", false),
        (".local/state/banger/ssh", true),
    ] {
        site.home(owner, &owner.home.join(directory), private)?;
    }
    Ok(())
}

/// Whether any unit changed, and whether anything else did.
fn configuration(site: &mut impl Site, owner: &Owner) -> Result<(Placed, Placed), Failure> {
    let mut all = Placed::Unchanged;
    for (name, template) in units::UNITS {
        let text = units::render(template, owner)?;
        all |= file(site, &format!("{UNIT_DIR}/{name}"), text.as_bytes(), 0o644)?;
    }
    let rules = units::render(units::UDEV, owner)?;
    let rules = file(site, RULES, rules.as_bytes(), 0o644)?;
    if rules == Placed::Changed {
        // A host without a running udev reads them when it has one.
        let _ = site.run("udevadm", &["control", "--reload"]);
    }
    let modules = format!(
        "# banger's helper may not load modules itself.\n{}\n",
        MODULES.join("\n")
    );
    let modules = file(site, MODULES_LOAD, modules.as_bytes(), 0o644)?;
    Ok((all, rules | modules))
}

fn told(what: &str, placed: Placed) {
    if placed == Placed::Changed {
        note(format_args!("{GOOD}wrote{GOOD:#} {what}"));
    }
}

#[cfg(test)]
mod tests;
