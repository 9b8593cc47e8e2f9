//! The Debian packages that building and running the host needs.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{privilege::as_root, run::run, stages::Stages};

const PACKAGES: [&str; 10] = [
    "qemu-system-x86",
    "mmdebstrap",
    "e2fsprogs",
    "openssh-client",
    "python3-pip",
    // What the native integration tests use.
    "nftables",
    "iproute2",
    "dmsetup",
    // Reads the boot initrd back.
    "cpio",
    // Finds what the Debian package depends on.
    "dpkg-dev",
];

/// Installs those that are missing; returns their names.
///
/// # Errors
/// This isn't a Debian, or apt-get fails.
pub fn install(stages: Stages) -> Result<Vec<&'static str>> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(missing);
    }
    let title = format!("install {}", missing.join(" "));
    stages.run(&title, || {
        run(as_root("apt-get").args(["-q", "update"]))
            .context("cannot update the package lists")?;
        run(as_root("env")
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"])
            .args(["install", "--no-install-recommends"])
            .args(&missing))
        .context("cannot install packages")
    })?;
    Ok(missing)
}

fn missing() -> Result<Vec<&'static str>> {
    // dpkg-query's status is 1 when it doesn't know one of them; its output is
    // still right for the others.
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(PACKAGES)
        .output()
        .context("cannot run dpkg-query: this needs Debian 12 or a relative of it")?;
    Ok(not_installed(&String::from_utf8_lossy(&output.stdout)))
}

fn not_installed(listing: &str) -> Vec<&'static str> {
    let installed = |name: &str| {
        listing
            .lines()
            .any(|line| line.split_once(' ') == Some((name, "installed")))
    };
    PACKAGES
        .into_iter()
        .filter(|name| !installed(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_and_unknown_packages_are_missing() {
        let all: Vec<_> = PACKAGES
            .iter()
            .map(|name| format!("{name} installed\n"))
            .collect();
        assert!(not_installed(&all.concat()).is_empty());
        let removed = all
            .concat()
            .replace("dmsetup installed", "dmsetup config-files");
        assert_eq!(not_installed(&removed), ["dmsetup"]);
        assert_eq!(not_installed("").len(), PACKAGES.len());
    }
}
