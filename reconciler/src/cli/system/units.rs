//! The unit files and the udev rule: templates in systemd/, filled in here.

use super::layout::{LIB_DIR, STATE_DIR};
use super::owner::Owner;
use crate::cli::{Exit, Failure};

/// The units, by file name.
pub(super) const UNITS: [(&str, &str); 5] = [
    (
        "banger.slice",
        include_str!("../../../../systemd/banger.slice"),
    ),
    (
        "banger-helper.socket",
        include_str!("../../../../systemd/banger-helper.socket"),
    ),
    (
        "banger-helper.service",
        include_str!("../../../../systemd/banger-helper.service"),
    ),
    (
        "bangerd.socket",
        include_str!("../../../../systemd/bangerd.socket"),
    ),
    (
        "bangerd.service",
        include_str!("../../../../systemd/bangerd.service"),
    ),
];

/// The udev rule.
pub(super) const UDEV: &str = include_str!("../../../../systemd/11-banger.rules");

/// A template with its tokens replaced.
///
/// # Errors
/// Where a value can't stand in a unit file, or a token is left over.
pub(super) fn render(template: &str, owner: &Owner) -> Result<String, Failure> {
    let home = owner.home.display().to_string();
    for value in [&owner.name, &home] {
        // `%` is a specifier, blanks separate, quotes quote (systemd.syntax(7)).
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"%\"'\\$#;".contains(c);
        if !value.chars().all(plain) {
            return Err(
                Failure::invalid(format!("`{value}` can't stand in a unit file"))
                    .help("choose an owner whose name and home directory are plain"),
            );
        }
    }
    let text = template
        .replace("@OWNER@", &owner.name)
        .replace("@HOME@", &home)
        .replace("@LIBDIR@", LIB_DIR)
        .replace("@STATEDIR@", STATE_DIR);
    let left = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .find(|line| {
            ["@OWNER", "@HOME", "@LIB", "@STATE", "@UID", "@GID"]
                .iter()
                .any(|it| line.contains(it))
        });
    match left {
        None => Ok(text),
        Some(line) => Err(Failure::new(
            Exit::Internal,
            format!("this build of banger can't fill in `{line}` of a unit"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{UDEV, UNITS, render};
    use crate::cli::system::owner::Owner;

    fn owner(name: &str, home: &str) -> Owner {
        Owner {
            name: name.to_owned(),
            uid: 1000,
            gid: 1000,
            home: home.into(),
        }
    }

    #[test]
    fn every_token_is_filled_in() {
        let owner = owner("ada", "/home/ada");
        for (name, template) in UNITS.into_iter().chain([("udev", UDEV)]) {
            let text = render(template, &owner).unwrap();
            let settings = text.lines().filter(|line| !line.starts_with('#'));
            for line in settings {
                assert!(
                    !line.contains("@OWNER@") && !line.contains("@LIBDIR@"),
                    "{name}: {line}"
                );
            }
        }
        let daemon = render(UNITS[4].1, &owner).unwrap();
        assert!(daemon.contains("User=ada\n"));
        assert!(daemon.contains("ExecStart=/usr/lib/banger/bangerd\n"));
        assert!(daemon.contains("Environment=HOME=/home/ada\n"));
    }

    #[test]
    fn a_name_cannot_bring_a_setting_of_its_own() {
        let text = render(
            UNITS[4].1,
            &owner("ada\nExecStartPre=/bin/true", "/home/ada"),
        );
        assert!(
            text.unwrap_err()
                .message
                .contains("can't stand in a unit file")
        );
        assert!(render(UNITS[4].1, &owner("ada", "/home/%h")).is_err());
        assert!(render("X=@OWNERS@", &owner("ada", "/home/ada")).is_err());
    }
}
