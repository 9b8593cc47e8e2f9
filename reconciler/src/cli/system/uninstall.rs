//! `banger system uninstall`: services and programs go; disks stay unless `--purge`.

use std::path::Path;

use banger_protocol::install;
use clap::Args;

use super::layout::{self, LIB_DIR, MODULES_LOAD, RULES, SERVICES, SOCKETS, UNIT_DIR};
use super::sweep::sweep;
use super::{place, program, require_root, units};
use crate::cli::output::print;
use crate::cli::places::installed;
use crate::cli::prompt::confirm;
use crate::cli::{Exit, Failure};

/// `banger system uninstall`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Uninstall {
    /// Remove disks, images and the database as well
    #[arg(long)]
    purge: bool,
    /// Cut running VMs off
    #[arg(long)]
    force: bool,
    /// Don't ask before data is lost
    #[arg(short, long)]
    yes: bool,
}

impl Uninstall {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        require_root("uninstall")?;
        let running = program::running_vmms()?;
        if !running.is_empty() && !self.force {
            return Err(
                Failure::new(Exit::Conflict, format!("{} VMs are running", running.len()))
                    .help("stop them with `banger vm stop`, or cut them off with `--force`"),
            );
        }
        if self.purge && !self.yes {
            confirm("all disks, images and the database will be lost for good")?;
        }
        let before = installed();
        // The daemon first, that nothing is made anew; the helper once all that
        // VMs have on this host is gone.
        let (daemon, helper) = ([SOCKETS[0], SERVICES[0]], [SOCKETS[1], SERVICES[1]]);
        disable(daemon);
        if before.is_some() {
            sweep()?;
        }
        disable(helper);
        // A slice outlives both what ran in it and its own file.
        program::try_run("systemctl", &["stop", "banger.slice"]);
        for (name, _) in units::UNITS {
            place::remove(&Path::new(UNIT_DIR).join(name))?;
        }
        program::try_run("systemctl", &["daemon-reload"]);
        let bridge = before.map_or_else(|| layout::BRIDGE.to_owned(), |install| install.bridge);
        for link in [bridge.as_str(), layout::CARRIER] {
            program::try_run("ip", &["link", "delete", link]);
        }
        for family in ["inet", "bridge"] {
            program::try_run("nft", &["delete", "table", family, "banger"]);
        }
        for path in [
            RULES,
            MODULES_LOAD,
            LIB_DIR,
            install::PATH,
            install::RUNTIME_DIR,
        ] {
            place::remove(Path::new(path))?;
        }
        // Its directory, unless somebody keeps something there.
        if let Some(directory) = Path::new(install::PATH).parent() {
            let _ = std::fs::remove_dir(directory);
        }
        if std::fs::read_link(layout::LINK).is_ok_and(|target| target.starts_with(LIB_DIR)) {
            place::remove(Path::new(layout::LINK))?;
        }
        program::try_run("udevadm", &["control", "--reload"]);
        if self.purge {
            place::remove(Path::new(layout::STATE_DIR))?;
            place::remove(Path::new(layout::HELPER_DIR))?;
            print("banger is gone from this host, with all its disks")?;
        } else {
            print(format_args!(
                "banger is gone from this host; its disks are still in {}",
                layout::STATE_DIR
            ))?;
        }
        Ok(Exit::Ok)
    }
}

/// One by one: a unit that isn't there is no reason to keep the others.
fn disable(units: [&str; 2]) {
    for unit in units {
        program::try_run("systemctl", &["disable", "--quiet", "--now", unit]);
        // systemd lists one that failed until it is told to forget it.
        program::try_run("systemctl", &["reset-failed", unit]);
    }
}
