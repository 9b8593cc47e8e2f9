//! The installed programs against the manifest that the installation wrote:
//! there, root's alone to write, and the very bytes that were installed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use banger_protocol::Install;
use banger_protocol::manifest::Manifest;

use super::Check;
use crate::cli::system::layout::{LIB_DIR, PROGRAMS};
use crate::cli::system::manifest;

const INSTALL: &str = "`sudo banger system install` puts it back";
/// The oldest Firecracker that banger was tried with.
const OLDEST: (u32, u32) = (1, 10);

#[derive(Clone, Debug)]
struct Reading {
    name: String,
    path: PathBuf,
    /// Why it can't be read.
    unreadable: Option<String>,
    sha256: String,
    /// What `--version` says, of Firecracker and its jailer.
    version: Option<String>,
    /// Owned by root, and writable by nobody else.
    guarded: bool,
}

pub(super) fn checks(install: Option<&Install>) -> Vec<Check> {
    let Some(install) = install else {
        return vec![Check::skip(
            "programs",
            "banger isn't installed on this host (`sudo banger system install`)",
        )];
    };
    let manifest = manifest::read(Path::new(manifest::PATH));
    let mut checks = vec![
        judge(
            &read("firecracker", &install.firecracker, true),
            manifest.as_ref(),
        ),
        judge(&read("jailer", &install.jailer, true), manifest.as_ref()),
    ];
    for name in PROGRAMS {
        let path = Path::new(LIB_DIR).join(name);
        checks.push(judge(&read(name, &path, false), manifest.as_ref()));
    }
    checks
}

fn read(name: &str, path: &Path, versioned: bool) -> Reading {
    let metadata = path.metadata();
    let content = std::fs::read(path);
    let own = |it: std::fs::Metadata| it.uid() == 0 && it.mode() & 0o022 == 0;
    Reading {
        name: name.to_owned(),
        path: path.to_owned(),
        unreadable: content.as_ref().err().map(ToString::to_string),
        sha256: content
            .map(|bytes| manifest::sha256(&bytes))
            .unwrap_or_default(),
        version: versioned.then(|| manifest::version_of(path)).flatten(),
        guarded: metadata.is_ok_and(own),
    }
}

fn judge(reading: &Reading, manifest: Option<&Manifest>) -> Check {
    let name = reading.name.as_str();
    let path = reading.path.display();
    if let Some(why) = &reading.unreadable {
        return Check::fail(name, format!("{path} can't be read: {why}"), INSTALL);
    }
    if !reading.guarded {
        let message = format!("{path} can be written by others than root");
        return Check::fail(name, message, INSTALL);
    }
    let Some(manifest) = manifest else {
        return Check::warn(
            name,
            format!("{} says nothing of it", manifest::PATH),
            "`sudo banger system install` writes it anew",
        );
    };
    let recorded = manifest.programs.get(name);
    let Some(recorded) = recorded.filter(|it| it.sha256 == reading.sha256) else {
        let message = format!("{path} isn't what was installed: its sha256 differs");
        return Check::fail(name, message, INSTALL);
    };
    let Some(version) = reading.version.as_ref().or(recorded.version.as_ref()) else {
        return Check::pass(name, "as installed");
    };
    // The rest is banger's own.
    if ["firecracker", "jailer"].contains(&name) && older(version) {
        return Check::warn(
            name,
            format!("{version} is older than banger was tried with"),
            "get 1.12 or newer and `sudo banger system install --firecracker PATH --jailer PATH`",
        );
    }
    Check::pass(name, format!("{version}, as installed"))
}

fn older(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use banger_protocol::manifest::{Installed, Manifest};

    use super::super::Verdict;
    use super::{Reading, judge};

    fn reading() -> Reading {
        Reading {
            name: "firecracker".into(),
            path: "/usr/lib/banger/firecracker".into(),
            unreadable: None,
            sha256: "aa".into(),
            version: Some("1.12.1".into()),
            guarded: true,
        }
    }

    fn manifest(sha256: &str) -> Manifest {
        let installed = Installed {
            sha256: sha256.into(),
            version: Some("1.12.1".into()),
        };
        Manifest {
            programs: [("firecracker".to_owned(), installed)].into(),
        }
    }

    #[test]
    fn only_the_very_bytes_pass() {
        let verdict = |reading: Reading, sha256: &str| {
            let check = judge(&reading, Some(&manifest(sha256)));
            (check.verdict, check.message)
        };
        let good = verdict(reading(), "aa");
        assert_eq!(good, (Verdict::Pass, "1.12.1, as installed".into()));
        assert_eq!(verdict(reading(), "bb").0, Verdict::Fail);
        let open = Reading {
            guarded: false,
            ..reading()
        };
        assert_eq!(verdict(open, "aa").0, Verdict::Fail);
        let gone = Reading {
            unreadable: Some("ENOENT".into()),
            ..reading()
        };
        assert_eq!(verdict(gone, "aa").0, Verdict::Fail);
        let old = Reading {
            version: Some("1.7.0".into()),
            ..reading()
        };
        assert_eq!(verdict(old, "aa").0, Verdict::Warn);
        assert_eq!(judge(&reading(), None).verdict, Verdict::Warn);
        // Banger's own versions aren't Firecracker's.
        let (name, version) = ("bangerd".to_owned(), Some("0.1.0".to_owned()));
        let mut ours = manifest("aa");
        ours.programs.insert(
            name.clone(),
            Installed {
                sha256: "aa".into(),
                version: version.clone(),
            },
        );
        let ours_reading = Reading {
            name,
            version,
            ..reading()
        };
        assert_eq!(judge(&ours_reading, Some(&ours)).verdict, Verdict::Pass);
    }
}
