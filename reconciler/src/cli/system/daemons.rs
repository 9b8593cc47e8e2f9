//! The two services and their sockets, as systemd has them: started, started
//! anew, and put back as they were.

use std::path::Path;

use banger_protocol::install;

use super::changes::Site;
use super::layout::{SERVICES, SOCKETS};
use super::place::Placed;
use crate::cli::Failure;

/// What is enabled; the helper comes by its socket.
const ENABLED: [&str; 3] = [SOCKETS[0], SOCKETS[1], SERVICES[0]];

/// What there was before an installation.
#[derive(Debug)]
pub(super) struct Daemons {
    /// Units that ran, sockets first.
    active: Vec<&'static str>,
    /// Units that start by themselves.
    enabled: Vec<&'static str>,
    /// Whether `/run/banger` was there.
    runtime: bool,
}

impl Daemons {
    pub(super) fn before(site: &mut impl Site) -> Self {
        let mut are = |word: &str, units: &[&'static str]| {
            let mut those = units.to_vec();
            those.retain(|unit| site.run("systemctl", &[word, "--quiet", unit]).is_ok());
            those
        };
        Self {
            active: are("is-active", &[SOCKETS, SERVICES].concat()),
            enabled: are("is-enabled", &ENABLED),
            runtime: site.exists(Path::new(install::RUNTIME_DIR)),
        }
    }

    /// Back to what there was: `files` puts the files back, in between.
    pub(super) fn put_back<S: Site>(
        &self,
        site: &mut S,
        files: impl FnOnce(&mut S) -> Vec<Failure>,
    ) -> Vec<Failure> {
        let mut failures = Vec::new();
        // A unit that isn't there is no reason to keep the others, and one that
        // failed needs no more than to be forgotten.
        for unit in [SERVICES, SOCKETS].concat() {
            let _ = site.run("systemctl", &["stop", unit]);
            let _ = site.run("systemctl", &["reset-failed", unit]);
        }
        for unit in ENABLED {
            if !self.enabled.contains(&unit) {
                let _ = site.run("systemctl", &["disable", "--quiet", unit]);
            }
        }
        failures.extend(files(site));
        if !self.runtime {
            failures.extend(site.remove(Path::new(install::RUNTIME_DIR)).err());
        }
        failures.extend(site.run("systemctl", &["daemon-reload"]).err());
        for unit in &self.active {
            failures.extend(site.run("systemctl", &["start", unit]).err());
        }
        failures
    }
}

/// Stops what runs and starts it from the files that there are now.
pub(super) fn anew(site: &mut impl Site, units: Placed) -> Result<(), Failure> {
    systemctl(site, &["daemon-reload"], &[])?;
    systemctl(site, &["stop"], &SERVICES)?;
    systemctl(site, &["enable", "--quiet"], &ENABLED)?;
    match units {
        Placed::Changed => systemctl(site, &["restart"], &SOCKETS)?,
        Placed::Unchanged => systemctl(site, &["start"], &SOCKETS)?,
    }
    systemctl(site, &["start"], &SERVICES[..1])
}

/// Starts what doesn't run; what runs goes on.
pub(super) fn up(site: &mut impl Site) -> Result<(), Failure> {
    systemctl(site, &["enable", "--quiet"], &ENABLED)?;
    systemctl(site, &["start"], &SOCKETS)?;
    systemctl(site, &["start"], &SERVICES[..1])
}

fn systemctl(site: &mut impl Site, words: &[&str], units: &[&str]) -> Result<(), Failure> {
    site.run("systemctl", &[words, units].concat())
        .map(drop)
        .map_err(|failure| failure.help("`journalctl -u bangerd -u banger-helper` says why"))
}
