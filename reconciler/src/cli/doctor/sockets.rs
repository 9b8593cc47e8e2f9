//! Who may reach the sockets of VMs: whoever does controls them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use banger_protocol::install;

use super::Check;

const NAME: &str = "sockets of VMs";

pub(super) fn check(installed: bool) -> Check {
    if !installed {
        return Check::skip(NAME, "banger isn't installed on this host");
    }
    let path = Path::new(install::RUNTIME_DIR).join("vms");
    judge(
        path.metadata()
            .ok()
            .map(|it| (it.uid(), it.gid(), it.mode())),
    )
}

/// Owner, group and mode of `/run/banger/vms`. The owner comes in by its access
/// control list, whose mask the group's part of the mode shows (acl(5)).
fn judge(directory: Option<(u32, u32, u32)>) -> Check {
    match directory {
        None => Check::pass(NAME, "there are none yet"),
        Some((0, 0, mode)) if mode & 0o027 == 0 => {
            Check::pass(NAME, "only root and the owner reach them")
        }
        Some((uid, gid, mode)) => Check::fail(
            NAME,
            format!(
                "others may reach them: /run/banger/vms has mode {:04o}, owner {uid}, group {gid}",
                mode & 0o7777
            ),
            "`sudo banger system restart`: the helper closes it when it starts",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Pass};
    use super::judge;

    #[test]
    fn a_way_for_others_is_told() {
        let verdict = |directory| judge(directory).verdict;
        assert_eq!(verdict(None), Pass);
        assert_eq!(verdict(Some((0, 0, 0o40_750))), Pass);
        assert_eq!(verdict(Some((0, 0, 0o40_755))), Fail);
        assert_eq!(verdict(Some((0, 100, 0o40_750))), Fail);
        assert_eq!(verdict(Some((1000, 0, 0o40_700))), Fail);
    }
}
