//! Programs of the system's that banger runs.

use std::path::{Path, PathBuf};

use super::Check;

const NEEDED: [(&str, &str); 5] = [
    ("dmsetup", "dmsetup"),
    ("nft", "nftables"),
    ("mkfs.ext4", "e2fsprogs"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
];

pub(super) fn checks() -> Vec<Check> {
    let found = NEEDED.map(|(name, package)| (name, package, find(name)));
    found
        .iter()
        .map(|(name, package, path)| judge(name, package, path.as_deref()))
        .collect()
}

/// A program of the system's; never looked for in the caller's PATH.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        .into_iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
}

fn judge(name: &str, package: &str, path: Option<&Path>) -> Check {
    match path {
        Some(path) => Check::pass(name, path.display().to_string()),
        None => Check::fail(
            name,
            format!("the program `{name}` isn't there"),
            format!("`sudo apt install {package}`"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Verdict;
    use super::judge;

    #[test]
    fn a_missing_program_names_its_package() {
        let there = judge("nft", "nftables", Some(Path::new("/usr/sbin/nft")));
        assert_eq!(there.verdict, Verdict::Pass);
        let missing = judge("nft", "nftables", None);
        assert_eq!(missing.verdict, Verdict::Fail);
        assert!(missing.remedy.is_some_and(|it| it.contains("nftables")));
    }
}
