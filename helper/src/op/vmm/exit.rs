//! The exit record: one line that the unit's `ExecStopPost` leaves beside the
//! jail, so that the end of a VMM is known although helper and daemon were down.
//! `$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS` (systemd.exec(5)).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use banger_protocol::VmUid;
use banger_protocol::inventory::Exit;
use nix::sys::signal::Signal;
use rustix::fs::{Mode, OFlags};

use crate::{Failure, Host};

/// Writes `$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS` to the path in `$0`. The
/// doubled dollars are one for the shell: systemd expands single ones itself.
pub(super) const SCRIPT: &str = r#"printf '%s %s %s\n' "$$SERVICE_RESULT" "$$EXIT_CODE" "$$EXIT_STATUS" >"$$0.new" && mv "$$0.new" "$$0""#;

/// Where it stands: in the jail's parent, which is root's alone.
pub(super) fn path(host: &Host, uid: VmUid) -> PathBuf {
    host.jails().join(uid.to_string()).join("exit")
}

/// How the VMM ended, if it did and said so. A record that can't be read is an
/// error: whether it ended well is not to be guessed.
pub fn read(host: &Host, uid: VmUid) -> Result<Option<Exit>, Failure> {
    let path = path(host, uid);
    match text(&path) {
        Ok(text) => Ok(parse(&text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::os("read", path.display().to_string(), e)),
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut text = String::new();
    File::from(rustix::fs::open(path, flags, Mode::empty())?)
        .take(256)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn parse(text: &str) -> Option<Exit> {
    let mut words = text.split_whitespace();
    let (result, _code, status) = (words.next()?, words.next()?, words.next()?);
    // A number after `exited`, a signal's name without SIG after `killed` and `dumped`.
    let status = match status.parse() {
        Ok(number) => number,
        Err(_) => format!("SIG{status}").parse::<Signal>().ok()? as i32,
    };
    Some(Exit {
        result: result.to_owned(),
        status,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_record_that_cannot_be_read_is_not_one_that_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("exit");
        let kind = |path: &Path| text(path).unwrap_err().kind();
        assert_eq!(kind(&path), std::io::ErrorKind::NotFound);
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert_ne!(kind(&path), std::io::ErrorKind::NotFound);
    }

    #[test]
    fn statuses_are_numbers_and_signals_names() {
        let exit = |result: &str, status| {
            Some(Exit {
                result: result.into(),
                status,
            })
        };
        assert_eq!(parse("success exited 0\n"), exit("success", 0));
        assert_eq!(parse("signal killed KILL\n"), exit("signal", 9));
        assert_eq!(parse("exit-code exited 153\n"), exit("exit-code", 153));
        assert_eq!(parse("success\n"), None);
        assert_eq!(parse(""), None);
    }
}
