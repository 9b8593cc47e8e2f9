//! `banger system uninstall`: services and programs go; disks stay unless `--purge`.

use std::path::Path;

use banger_protocol::{VmUid, install};
use clap::Args;

use super::layout::{self, LIB_DIR, MODULES_LOAD, RULES, SERVICES, SOCKETS, UNIT_DIR};
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
        let running = running()?;
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
        // One by one: a unit that isn't there is no reason to keep the others.
        for unit in SOCKETS.into_iter().chain(SERVICES) {
            program::try_run("systemctl", &["disable", "--quiet", "--now", unit]);
        }
        for unit in &running {
            program::run("systemctl", &["stop", unit])?;
        }
        for (name, _) in units::UNITS {
            place::remove(&Path::new(UNIT_DIR).join(name))?;
        }
        program::try_run("systemctl", &["daemon-reload"]);
        let bridge = before.map_or_else(|| layout::BRIDGE.to_owned(), |install| install.bridge);
        for tap in taps(&bridge) {
            program::try_run("ip", &["link", "delete", "dev", &tap]);
        }
        program::try_run("ip", &["link", "delete", &bridge]);
        program::try_run("nft", &["delete", "table", "inet", "banger"]);
        for path in [
            RULES,
            MODULES_LOAD,
            LIB_DIR,
            install::PATH,
            install::RUNTIME_DIR,
        ] {
            place::remove(Path::new(path))?;
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

/// The taps on the bridge that carry banger's alias: those of the pool, and of
/// VMs that were cut off.
fn taps(bridge: &str) -> Vec<String> {
    let list = ["-j", "-d", "link", "show", "master", bridge];
    program::try_run("ip", &list)
        .map(|text| ours(&text))
        .unwrap_or_default()
}

/// The names in what `ip -j -d link` prints.
fn ours(links: &str) -> Vec<String> {
    let links: Vec<serde_json::Value> = serde_json::from_str(links).unwrap_or_default();
    let is_ours = |link: &serde_json::Value| {
        let alias = link["ifalias"].as_str().unwrap_or_default();
        let marked = alias == "pool" || alias.parse::<VmUid>().is_ok();
        marked && link["linkinfo"]["info_kind"] == "tun"
    };
    let named = |link: &serde_json::Value| Some(link["ifname"].as_str()?.to_owned());
    links
        .iter()
        .filter(|l| is_ours(l))
        .filter_map(named)
        .collect()
}

/// The units of running VMs.
fn running() -> Result<Vec<String>, Failure> {
    let text = program::run(
        "systemctl",
        &[
            "list-units",
            "--plain",
            "--no-legend",
            "--state=active",
            "banger-vm-*.service",
        ],
    )?;
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    Ok(text.lines().filter_map(first).collect())
}

#[cfg(test)]
mod tests {
    use super::ours;

    #[test]
    fn only_taps_with_our_alias_are_ours() {
        let links = r#"[
            {"ifname":"tap-pool-1","ifalias":"pool","linkinfo":{"info_kind":"tun"}},
            {"ifname":"tap-pool-2","linkinfo":{"info_kind":"tun"}},
            {"ifname":"tap-pool-3","ifalias":"pool","linkinfo":{"info_kind":"dummy"}},
            {"ifname":"bgr4","ifalias":"0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f","linkinfo":{"info_kind":"tun"}},
            {"ifname":"stray","ifalias":"mine","linkinfo":{"info_kind":"tun"}},
            {}]"#;
        assert_eq!(ours(links), ["tap-pool-1", "bgr4"]);
        assert!(ours("").is_empty());
    }
}
